-- A sample of decision ids: those whose digest with a seed is smallest.
-- Grain: one row a decision. Parameters: domain, seed, count.
select decision_id
from decision
where domain = :domain
order by md5(concat(decision_id, ':', cast(:seed as bigint))), decision_id
limit :count;
