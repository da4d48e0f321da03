-- How many decisions are stored, and how many of them others took: those whose seal says that they
-- were ingested, or, without a policy that could say more, those of no nominal action.
-- Grain: one row. Parameters: domain.
select
    count(*) as present,
    count(*) filter (
        where starts_with(s.batch, 'ingest/') or (d.generation = 0 and cardinality(d.nominal) = 0)
    ) as elsewhere
from decision as d
inner join seal as s on d.seal = s.number
where d.domain = :domain;
