-- Decisions with what was known of their outcomes at a time: the newest outcome or correction
-- that was observed by then; the reward is null where none was.
-- Grain: one row a decision. Parameters: domain, since and until (of decided_at, until excluded),
-- as_of (outcomes observed by then), low and high (decision ids, both included, between which
-- those of the span lie: see tally/span), every (1 for all decisions; k for those of one unit in
-- k, spread evenly over minutes and within them: a unit id is minute * 16777216 + rank).
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
    greatest(o.observed_at, c.observed_at) as reward_at
from decision as d
inner join unit as u
    on
        d.domain = u.domain
        and d.unit_id = u.unit_id
        and u.unit_id between cast(:low as bigint) / 64 and cast(:high as bigint) / 64
        and (:every = 1 or (u.unit_id / 16777216 + u.unit_id % 16777216) % :every = 0)
left join outcome as o
    on
        d.domain = o.domain
        and d.decision_id = o.decision_id
        and o.decision_id between :low and :high
        and o.observed_at <= :as_of
left join correction as c
    on
        d.domain = c.domain
        and d.decision_id = c.decision_id
        and c.decision_id between :low and :high
        and c.observed_at <= :as_of
        and not exists (
            select from correction as later
            where
                later.domain = c.domain
                and later.decision_id = c.decision_id
                and later.observed_at > c.observed_at
                and later.observed_at <= :as_of
        )
where
    d.domain = :domain
    and d.decided_at >= :since
    and d.decided_at < :until
    and d.decision_id between :low and :high
order by d.decision_id;
