-- Which of some decisions others took (see replayable).
-- Grain: one row a decision that others took. Parameters: domain, id_list.
select d.decision_id
from decision as d
inner join seal as s on d.seal = s.number
where
    d.domain = :domain
    and d.decision_id = any(:id_list)
    and (starts_with(s.batch, 'ingest/') or (d.generation = 0 and cardinality(d.nominal) = 0))
order by d.decision_id;
