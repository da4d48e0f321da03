-- How many decisions each generation has taken, of every domain.
-- Grain: one row a domain and generation with a decision.
select
    domain,
    generation,
    cast(sum(decisions) as bigint) as decisions,
    min(first_decided_at) as first_decided_at,
    max(last_decided_at) as last_decided_at,
    min(first_decision_id) as first_decision_id,
    max(last_decision_id) as last_decision_id
from tally
group by domain, generation
order by domain, generation;
