-- What is measured over the cycles of a domain, what is diagnosed from it, who was told; and counts
-- of decisions, so that no page counts them.

-- One quantity of one series in the cycle that ends at a cut-off. What could not be measured has no
-- row. `series` is "deployed", the whole traffic as it ran, or the name of a candidate.
create table measurement (
    domain      text             not null,
    cutoff      timestamptz      not null,
    series      text             not null,
    name        text             not null,
    value       double precision not null check (
        value > '-infinity' and value < 'infinity'
    ),
    measured_at timestamptz      not null,
    seal        bigint           not null references seal,
    primary key (domain, cutoff, series, name)
);
create index on measurement (domain, series, name, cutoff);

-- What the whole series up to a cut-off says. `reasons` is a list of texts; `statistics` holds
-- numbers by name, null where there are too few cycles for one.
create table diagnosis (
    domain      text        not null,
    cutoff      timestamptz not null,
    series      text        not null,
    verdict     text        not null check (
        verdict in ('oscillating', 'suspect', 'stable', 'degenerate', 'inconclusive')
    ),
    explanation text        not null,
    action      text        not null,
    reasons     json        not null,
    statistics  json        not null,
    measured_at timestamptz not null,
    seal        bigint      not null references seal,
    primary key (domain, cutoff, series)
);
create index on diagnosis (domain, series, cutoff);

-- That a change of verdict was told to the outside, by which way.
create table announcement (
    domain       text        not null,
    cutoff       timestamptz not null,
    series       text        not null,
    channel      text        not null check (channel in ('log', 'webhook', 'email')),
    message      text        not null,
    announced_at timestamptz not null,
    seal         bigint      not null references seal,
    primary key (domain, cutoff, series, channel),
    foreign key (domain, cutoff, series) references diagnosis (domain, cutoff, series)
);

-- How many decisions each sealed batch holds, by who took them and in which arm. It follows from
-- the decisions, which are sealed, so it has no seal of its own: `seal` is theirs, and an audit
-- counts anew.
create table tally (
    domain           text        not null,
    seal             bigint      not null references seal,
    generation       integer     not null,
    arm              text        not null,
    decisions        bigint      not null check (decisions > 0),
    first_decided_at timestamptz not null,
    last_decided_at  timestamptz not null,
    primary key (domain, seal, generation, arm)
);

insert into tally
select domain, seal, generation, arm, count(*), min(decided_at), max(decided_at)
from decision
group by domain, seal, generation, arm;

do $$
declare
    name text;
begin
    foreach name in array array['measurement', 'diagnosis', 'announcement', 'tally']
    loop
        call make_append_only(name::regclass);
        execute format('grant select, insert on %I to decisions_writer', name);
        execute format('grant select on %I to decisions_reader', name);
    end loop;
end
$$;
