-- The names of the batches of one kind, in the order they were sealed.
-- Grain: one row a batch. Parameters: domain, kind.
select batch
from seal
where domain = :domain and kind = :kind and part = 0
order by number;
