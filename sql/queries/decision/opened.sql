-- One decision with its unit, its outcome and its seal.
-- Grain: one row, none when there is no such decision. Parameters: domain, decision_id. Units:
-- reward and reward_at are null while no outcome is known, first_reward unless it was corrected; digests are SHA-256, hexadecimal.
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
    u.payload,
    case when o.observed_at >= c.observed_at or c.reward is null then o.reward else c.reward end
        as reward,
    greatest(o.observed_at, c.observed_at) as reward_at,
    case when c.reward is not null then o.reward end as first_reward,
    d.seal,
    s.batch,
    s.sealed_at,
    encode(s.digest, 'hex') as seal_digest
from decision as d
inner join unit as u on d.domain = u.domain and d.unit_id = u.unit_id
inner join seal as s on d.seal = s.number
left join outcome as o on d.domain = o.domain and d.decision_id = o.decision_id
left join latest_correction as c on d.domain = c.domain and d.decision_id = c.decision_id
where d.domain = :domain and d.decision_id = :decision_id
order by d.decision_id;
