-- The spine: what every domain writes down, and nothing that only one of them would.
--
-- Rows are only ever added. `seal` is the number of the seal that covers the row.

do $$
begin
    if not exists (select from pg_roles where rolname = 'decisions_reader') then
        create role decisions_reader nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'decisions_writer') then
        create role decisions_writer nologin;
    end if;
    execute format('grant decisions_reader, decisions_writer to %I', current_user);
end
$$;

-- One seal a batch: a link of the chain over everything written. `fingerprints` holds eight bytes
-- a row, in the canonical order, to name the row that differs; `content` proves that one does.
create table seal (
    number       bigint      primary key check (number > 0),
    domain       text        not null,
    kind         text        not null,
    batch        text        not null,
    part         integer     not null check (part >= 0),
    row_count    bigint      not null check (row_count > 0),
    sealed_at    timestamptz not null,
    content      bytea       not null check (length(content) = 32),
    fingerprints bytea       not null,
    previous     bytea       not null check (length(previous) = 32),
    digest       bytea       not null unique check (length(digest) = 32),
    unique (domain, kind, batch, part),
    check (length(fingerprints) = 8 * row_count)
);

-- What a decision is about. The id is ordered by the minute of observation.
create table unit (
    domain      text        not null,
    unit_id     bigint      not null check (unit_id >= 0),
    reference   text        not null,
    observed_at timestamptz not null,
    payload     json        not null,
    seal        bigint      not null,
    primary key (domain, unit_id),
    unique (domain, reference)
);

-- One row a decision. The id is that of its unit and slot, so the key also makes (unit, slot)
-- unique. Foreign keys to unit and generation are checked by the batch, not by the row: a trigger
-- a row costs more than the rest of the write.
create table decision (
    domain         text               not null,
    decision_id    bigint             not null,
    unit_id        bigint             not null,
    slot           smallint           not null,
    parent_id      bigint,
    generation     integer            not null,
    arm            text               not null,
    decided_at     timestamptz        not null,
    eligible       smallint[]         not null,
    scores         double precision[] not null,
    probabilities  double precision[] not null,
    action         double precision[] not null,
    nominal        double precision[] not null,
    propensity     double precision   not null,
    arm_propensity double precision   not null,
    uniform        double precision   not null,
    seal           bigint             not null,
    primary key (domain, decision_id),
    check (decision_id = unit_id * 64 + slot and slot between 0 and 63),
    check (propensity > 0 and propensity < 'infinity')
) partition by range (decision_id);

create table outcome (
    domain      text             not null,
    decision_id bigint           not null,
    reward      double precision not null check (reward <> 'nan'),
    observed_at timestamptz      not null,
    seal        bigint           not null,
    primary key (domain, decision_id)
);

-- A numbered policy; number 0 is the baseline, and only it has no parent.
create table generation (
    domain       text        not null,
    number       integer     not null check (number >= 0),
    parent       integer,
    policy       text        not null,
    cutoff       timestamptz not null,
    seed         bigint      not null,
    config       json        not null,
    code_version text        not null,
    planned_at   timestamptz not null,
    seal         bigint      not null references seal,
    primary key (domain, number),
    unique (domain, cutoff, policy),
    foreign key (domain, parent) references generation (domain, number),
    check ((number = 0) = (parent is null)),
    check (parent < number)
);

-- Bytes by their SHA-256. Rows of `training` are sealed and name the digest.
create table artifact (
    digest  text  primary key check (digest = encode(sha256(content), 'hex')),
    content bytea not null
);

create table training (
    domain     text        not null,
    number     integer     not null,
    digest     text        not null references artifact,
    row_count  bigint      not null check (row_count >= 0),
    details    json        not null,
    trained_at timestamptz not null,
    seal       bigint      not null references seal,
    primary key (domain, number),
    foreign key (domain, number) references generation (domain, number)
);

-- Long form, one row an estimate or check. `role`: candidate, champion, difference, estimate (see
-- `name`), check (only `value`), refusal (only `note`).
create table evaluation (
    domain       text             not null,
    number       integer          not null,
    champion     integer          not null,
    role         text             not null check (
        role in ('candidate', 'champion', 'difference', 'estimate', 'check', 'refusal')
    ),
    name         text             not null,
    value        double precision,
    lower        double precision,
    upper        double precision,
    level        double precision,
    method       text,
    n            bigint,
    effective_n  double precision,
    note         text,
    evaluated_at timestamptz      not null,
    seal         bigint           not null references seal,
    primary key (domain, number, role, name),
    foreign key (domain, number) references generation (domain, number),
    foreign key (domain, champion) references generation (domain, number)
);

create table verdict (
    domain    text        not null,
    number    integer     not null,
    outcome   text        not null check (outcome in ('promote', 'hold', 'reject')),
    reasons   json        not null,
    note      text        not null,
    judged_at timestamptz not null,
    seal      bigint      not null references seal,
    primary key (domain, number),
    foreign key (domain, number) references generation (domain, number)
);

-- Who made which generation the champion, when and why. Rolling back is promoting an older one.
create table promotion (
    domain      text        not null,
    number      integer     not null,
    promoted_at timestamptz not null,
    promoted_by text        not null,
    reason      text        not null,
    seal        bigint      not null references seal,
    primary key (domain, number, promoted_at),
    foreign key (domain, number) references generation (domain, number)
);

create view champion as
select distinct on (domain)
    domain,
    number,
    promoted_at,
    promoted_by,
    reason
from promotion
order by domain, promoted_at desc, seal desc;

create table diagnostic (
    domain      text             not null,
    number      integer          not null,
    name        text             not null,
    value       double precision not null,
    measured_at timestamptz      not null,
    seal        bigint           not null references seal,
    primary key (domain, number, name),
    foreign key (domain, number) references generation (domain, number)
);

-- Rows that broke a rule, as text, with the rule. `digest` names the row; when a decision was taken
-- is not part of the name, so that one taken again with the same content is the same row.
create table quarantine (
    domain         text        not null,
    kind           text        not null,
    digest         text        not null,
    batch          text        not null,
    reason         text        not null,
    content        text        not null,
    quarantined_at timestamptz not null,
    seal           bigint      not null references seal,
    primary key (domain, kind, digest)
);

-- Who works on what. The one table whose rows change: no evidence is kept here.
create table lease (
    name       text        primary key,
    token      bigint      not null check (token > 0),
    holder     text        not null,
    expires_at timestamptz not null
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% of % is refused: what was decided is only ever added to', tg_op, tg_table_name
        using errcode = 'restrict_violation';
end
$$;

create procedure make_append_only(target regclass) language plpgsql as $$
begin
    execute format(
        'create trigger append_only before update or delete or truncate on %s'
        ' for each statement execute function refuse_change()',
        target
    );
end
$$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'seal', 'unit', 'decision', 'outcome', 'generation', 'artifact', 'training', 'evaluation',
        'verdict', 'promotion', 'diagnostic', 'quarantine'
    ]
    loop
        call make_append_only(name::regclass);
        execute format('grant select, insert on %I to decisions_writer', name);
        execute format('grant select on %I to decisions_reader', name);
    end loop;
end
$$;
grant select on champion to decisions_writer, decisions_reader;
grant select, insert, update on lease to decisions_writer;
grant select on lease to decisions_reader;

-- The partition of the decisions on units observed in the calendar month (UTC) that holds `day`,
-- made when it is not there. It runs as its owner, so that writers can open a month and do nothing
-- else to the schema: name and bounds follow from the month, whoever calls. An id is the minute
-- times 2^24 units times 64 slots. Attaching an empty table keeps readers going, which
-- `create table ... partition of` would not.
create function open_month(day date) returns void
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
    execute format('create index on %I using brin (decided_at)', part);
    execute format(
        'alter table decision attach partition %I for values from (%s) to (%s)', part, low, high
    );
    call make_append_only(part::regclass);
    execute format('grant select on %I to decisions_writer, decisions_reader', part);
end
$$;

-- A function that runs as its owner must not follow the caller's search path.
do $$
begin
    execute format(
        'alter function open_month(date) set search_path = %I, pg_temp', current_schema()
    );
end
$$;
revoke execute on function open_month(date) from public;
grant execute on function open_month(date) to decisions_writer;
revoke execute on procedure make_append_only(regclass) from public;
