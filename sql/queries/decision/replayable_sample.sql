-- A sample of the decisions that were taken here: those whose digest with a seed is smallest.
-- Grain: one row a decision. Parameters: domain, seed, count.
select d.decision_id
from decision as d
inner join seal as s on d.seal = s.number
where
    d.domain = :domain
    and not starts_with(s.batch, 'ingest/')
    and not (d.generation = 0 and cardinality(d.nominal) = 0)
order by md5(concat(d.decision_id, ':', cast(:seed as bigint))), d.decision_id
limit :count;
