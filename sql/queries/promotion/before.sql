-- The promotions up to a time, the newest first.
-- Grain: one row a promotion. Parameters: domain, time (included).
select number, promoted_at, promoted_by, reason
from promotion
where domain = :domain and promoted_at <= :time
order by promoted_at desc, seal desc;
