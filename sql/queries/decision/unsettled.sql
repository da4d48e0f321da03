-- Decisions that still wait for an outcome.
-- Grain: one row a decision. Parameters: domain, since and until (of decided_at, both included),
-- low and high (decision ids, both included, between which those of the span lie: see tally/span).
select
    d.decision_id,
    d.unit_id,
    d.slot,
    d.parent_id,
    d.generation,
    d.arm,
    d.decided_at,
    d.eligible,
    d.scores,
    d.probabilities,
    d.action,
    d.nominal,
    d.propensity,
    d.arm_propensity,
    d.uniform,
    u.reference,
    u.observed_at,
    u.payload
from decision as d
inner join unit as u
    on
        d.domain = u.domain
        and d.unit_id = u.unit_id
        and u.unit_id between cast(:low as bigint) / 64 and cast(:high as bigint) / 64
where
    d.domain = :domain
    and d.decided_at >= :since
    and d.decided_at <= :until
    and d.decision_id between :low and :high
    and not exists (
        select from outcome as o
        where
            o.domain = d.domain
            and o.decision_id = d.decision_id
            and o.decision_id between :low and :high
    )
order by d.decision_id;
