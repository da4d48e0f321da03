-- A sample of the decisions that were taken here: those whose digest with a seed is smallest.
-- Grain: one row a decision. Parameters: domain, logged (whether the domain brings a log), seed,
-- count.
select decision_id
from decision
where
    domain = :domain
    and not (generation = 0 and (cardinality(nominal) = 0 or :logged))
order by md5(concat(decision_id, ':', cast(:seed as bigint))), decision_id
limit :count;
