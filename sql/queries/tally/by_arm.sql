-- How many decisions a domain's generations have taken in each arm.
-- Grain: one row a generation and arm. Parameters: domain.
select
    generation,
    arm,
    cast(sum(decisions) as bigint) as decisions,
    min(first_decided_at) as first_decided_at,
    max(last_decided_at) as last_decided_at,
    min(first_decision_id) as first_decision_id,
    max(last_decision_id) as last_decision_id
from tally
where domain = :domain
group by generation, arm
order by generation, arm;
