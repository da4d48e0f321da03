-- The range of the units of the newest seals, and the first seal with one observed later.
-- Grain: one row. Parameters: domain, after (a seal), until. Units: low and high are unit ids;
-- all are null when there is none.
select
    min(unit_id) as low,
    max(unit_id) as high,
    min(seal) filter (where observed_at >= :until) as later
from unit
where domain = :domain and seal > :after;
