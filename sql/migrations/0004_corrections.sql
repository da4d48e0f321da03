-- Corrections of outcomes: what became known of a decision after its first outcome, such as a
-- chargeback after an authorisation. Both stay; of what was observed by a time, the newest counts.
-- That the decision has an outcome is checked by the batch, as for `outcome`.

create table correction (
    domain      text             not null,
    decision_id bigint           not null,
    reward      double precision not null check (reward <> 'nan'),
    observed_at timestamptz      not null,
    seal        bigint           not null references seal,
    primary key (domain, decision_id, observed_at)
);
create index on correction using brin (seal) with (autosummarize = on);

create view latest_correction as
select c.domain, c.decision_id, c.reward, c.observed_at
from correction as c
where not exists (
    select from correction as later
    where
        later.domain = c.domain
        and later.decision_id = c.decision_id
        and later.observed_at > c.observed_at
);

do $$
begin
    call make_append_only('correction'::regclass);
end
$$;
grant select, insert on correction to decisions_writer;
grant select on correction, latest_correction to decisions_reader;
grant select on latest_correction to decisions_writer;
