-- The unit that the source calls by this reference.
-- Grain: one row, none when there is no such unit. Parameters: domain, reference.
select unit_id, reference, observed_at, payload
from unit
where domain = :domain and reference = :reference
order by unit_id;
