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
    domain            text        not null,
    seal              bigint      not null references seal,
    generation        integer     not null,
    arm               text        not null,
    decisions         bigint      not null check (decisions > 0),
    first_decided_at  timestamptz not null,
    last_decided_at   timestamptz not null,
    first_decision_id bigint      not null,
    last_decision_id  bigint      not null,
    primary key (domain, seal, generation, arm)
);

insert into tally
select
    domain,
    seal,
    generation,
    arm,
    count(*),
    min(decided_at),
    max(decided_at),
    min(decision_id),
    max(decision_id)
from decision
group by domain, seal, generation, arm;

-- Up to which seal every unit has a decision or stands in quarantine, so that looking for those
-- that wait need not read all of history. No evidence: a domain without a row is read as a whole.
create table decided_through (
    domain text   primary key,
    seal   bigint not null
);
grant select, insert, update on decided_through to decisions_writer;
grant select on decided_through to decisions_reader;

-- Evidence of an evaluation, what betting on its rows has won: role `evidence`, JSON in `note`.
alter table evaluation drop constraint evaluation_role_check;
alter table evaluation add constraint evaluation_role_check check (
    role in ('candidate', 'champion', 'difference', 'estimate', 'check', 'refusal', 'evidence')
);

-- A candidate that was held, looked at again at a later cut-off: the rows decided in [since, until)
-- are new to it, `evidence` (JSON) is of all its rows so far, and the verdict reads all of it.
create table review (
    domain      text        not null,
    number      integer     not null,
    cutoff      timestamptz not null,
    champion    integer     not null,
    since       timestamptz not null,
    until       timestamptz not null check (until > since),
    evidence    json        not null,
    outcome     text        not null check (outcome in ('promote', 'hold', 'reject')),
    reasons     json        not null,
    note        text        not null,
    reviewed_at timestamptz not null,
    seal        bigint      not null references seal,
    primary key (domain, number, cutoff),
    foreign key (domain, number) references generation (domain, number),
    foreign key (domain, champion) references generation (domain, number)
);

do $$
declare
    name text;
begin
    foreach name in array array['measurement', 'diagnosis', 'announcement', 'tally', 'review']
    loop
        call make_append_only(name::regclass);
        execute format('grant select, insert on %I to decisions_writer', name);
        execute format('grant select on %I to decisions_reader', name);
    end loop;
end
$$;

-- Rows lie in the order of their seals: those of the newest seals are found by a tiny index.
create index on unit using brin (seal) with (autosummarize = on);
create index on outcome using brin (seal) with (autosummarize = on);

do $$
declare
    part regclass;
begin
    for part in select inhrelid::regclass from pg_inherits where inhparent = 'decision'::regclass
    loop
        execute format('create index on %s using brin (seal) with (autosummarize = on)', part);
    end loop;
end
$$;

-- As in 0001, with that index.
create or replace function open_month(day date) returns void
language plpgsql security definer as $$
declare
    first timestamp := date_trunc('month', day::timestamp);
    part text := 'decision_' || to_char(first, 'YYYY_MM');
    low bigint := extract(epoch from first)::bigint / 60 * 1073741824;
    high bigint := extract(epoch from first + interval '1 month')::bigint / 60 * 1073741824;
begin
    if first < '1970-01-01' then
        raise exception 'day is %, wanted one of 1970 or later', day;
    end if;
    if to_regclass(format('%I.%I', current_schema(), part)) is not null then
        return;
    end if;
    execute format(
        'create table %I (like decision including constraints, primary key (domain, decision_id))',
        part
    );
    execute format(
        'create index on %I using brin (decided_at) with (autosummarize = on)', part
    );
    execute format('create index on %I using brin (seal) with (autosummarize = on)', part);
    execute format(
        'alter table decision attach partition %I for values from (%s) to (%s)', part, low, high
    );
    call make_append_only(part::regclass);
    execute format('grant select on %I to decisions_writer, decisions_reader', part);
end
$$;

do $$
begin
    execute format(
        'alter function open_month(date) set search_path = %I, pg_temp', current_schema()
    );
end
$$;
