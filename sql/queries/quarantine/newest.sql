-- The rows that were set aside last, as the text they came as.
-- Grain: one row a quarantined row. Parameters: count (rows at most).
select domain, kind, batch, reason, content, quarantined_at, seal
from quarantine
order by seal desc, domain, kind, digest
limit :count;
