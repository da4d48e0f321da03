-- The units that have these references.
-- Grain: one row a unit. Parameters: domain, reference_list (texts).
select unit_id, reference, observed_at, payload
from unit
where domain = :domain and reference = any(:reference_list)
order by unit_id;
