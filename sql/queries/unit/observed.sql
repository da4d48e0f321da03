-- When some units were observed.
-- Grain: one row a unit found. Parameters: domain, id_list.
select unit_id, observed_at
from unit
where domain = :domain and unit_id = any(:id_list)
order by unit_id;
