-- Units that still wait for a decision: they have none in any slot.
-- Grain: one row a unit. Parameters: domain, until (observed before it).
select u.unit_id, u.reference, u.observed_at, u.payload
from unit as u
where
    u.domain = :domain
    and u.observed_at < :until
    and not exists (
        select from decision as d
        where d.domain = u.domain and d.unit_id = u.unit_id
    )
order by u.unit_id;
