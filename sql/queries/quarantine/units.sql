-- The units that a decision was tried for and refused, decided since or not.
-- Grain: one row a unit. Parameters: domain.
select distinct cast(cast(content as json) ->> 'unit_id' as bigint) as unit_id
from quarantine
where domain = :domain and kind = 'decision'
order by unit_id;
