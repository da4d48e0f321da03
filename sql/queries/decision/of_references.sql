-- The units that have these references, and the first decision on each, null while there is none.
-- Grain: one row a unit. Parameters: domain, reference_list (texts).
select
    u.reference,
    u.unit_id,
    d.decision_id
from unit as u
left join decision as d on u.domain = d.domain and d.decision_id = u.unit_id * 64
where u.domain = :domain and u.reference = any(:reference_list)
order by u.unit_id;
