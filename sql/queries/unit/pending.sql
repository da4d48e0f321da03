-- Units of the newest seals that still wait for a decision: they have none in any slot.
-- Grain: one row a unit. Parameters: domain, until (observed before it), after (a seal: units of
-- earlier ones are decided, or in quarantine), low and high (unit ids of those, both included).
select u.unit_id, u.reference, u.observed_at, u.payload
from unit as u
where
    u.domain = :domain
    and u.unit_id between :low and :high
    and u.observed_at < :until
    and u.seal > :after
    and not exists (
        select from decision as d
        where
            d.domain = :domain
            and d.unit_id = u.unit_id
            and d.decision_id >= cast(:low as bigint) * 64
            and d.decision_id < (cast(:high as bigint) + 1) * 64
    )
order by u.unit_id;
