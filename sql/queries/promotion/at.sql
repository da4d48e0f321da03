-- The generation that was champion at a time.
-- Grain: one row, none before the first promotion. Parameters: domain, time.
select number
from promotion
where domain = :domain and promoted_at <= :time
order by promoted_at desc, seal desc
limit 1;
