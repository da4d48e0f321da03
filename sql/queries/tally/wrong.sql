-- The first tally that differs from the decisions it counts.
-- Grain: one row, none when all are right. Units: counted from the decisions, stored in the tally.
select
    coalesce(d.seal, t.seal) as seal,
    coalesce(d.generation, t.generation) as generation,
    coalesce(d.arm, t.arm) as arm,
    coalesce(d.decisions, 0) as counted,
    coalesce(t.decisions, 0) as stored
from (
    select
        domain,
        seal,
        generation,
        arm,
        count(*) as decisions,
        min(decided_at) as first_decided_at,
        max(decided_at) as last_decided_at,
        min(decision_id) as first_decision_id,
        max(decision_id) as last_decision_id
    from decision
    group by domain, seal, generation, arm
) as d
full join tally as t
    on
        d.domain = t.domain
        and d.seal = t.seal
        and d.generation = t.generation
        and d.arm = t.arm
where
    (
        d.decisions,
        d.first_decided_at,
        d.last_decided_at,
        d.first_decision_id,
        d.last_decision_id
    ) is distinct from (
        t.decisions,
        t.first_decided_at,
        t.last_decided_at,
        t.first_decision_id,
        t.last_decision_id
    )
order by seal, generation, arm
limit 1;
