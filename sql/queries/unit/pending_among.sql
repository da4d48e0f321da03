-- Which of some units wait for a decision: they have none in any slot.
-- Grain: one row a unit. Parameters: domain, id_list, until (observed before it).
select u.unit_id, u.reference, u.observed_at, u.payload
from unit as u
where
    u.domain = :domain
    and u.unit_id = any(:id_list)
    and u.observed_at < :until
    and not exists (
        select from decision as d
        where
            d.domain = :domain
            and d.decision_id between u.unit_id * 64 and u.unit_id * 64 + 63
    )
order by u.unit_id;
