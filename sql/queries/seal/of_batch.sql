-- The seals over one batch: usually one, more when a repetition brought further rows.
-- Grain: one row a part. Parameters: domain, kind, batch.
select number, content
from seal
where domain = :domain and kind = :kind and batch = :batch
order by part;
