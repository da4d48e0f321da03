-- Decisions in a range of ids, the newest first: the ids follow the minute a unit was observed in.
-- Grain: one row a decision. Parameters: domain, low and high (ids, high excluded), generation and
-- arm (null for any), count (rows at most). Units: reward is null while no outcome is known.
select
    d.decision_id,
    u.reference,
    u.observed_at,
    d.decided_at,
    d.generation,
    d.arm,
    d.action,
    d.propensity,
    case when o.observed_at >= c.observed_at or c.reward is null then o.reward else c.reward end
        as reward,
    greatest(o.observed_at, c.observed_at) as reward_at
from (
    select domain, decision_id, unit_id, decided_at, generation, arm, action, propensity
    from decision
    where
        domain = :domain
        and decision_id >= :low
        and decision_id < :high
        and (cast(:generation as integer) is null or generation = :generation)
        and (cast(:arm as text) is null or arm = :arm)
    order by decision_id desc
    limit :count
) as d
inner join unit as u on d.domain = u.domain and d.unit_id = u.unit_id
left join outcome as o on d.domain = o.domain and d.decision_id = o.decision_id
left join latest_correction as c on d.domain = c.domain and d.decision_id = c.decision_id
order by d.decision_id desc;
