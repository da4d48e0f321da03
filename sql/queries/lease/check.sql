-- The current token of a lease, which nobody may take before this transaction ends.
-- Grain: one row, none when it was never taken. Parameters: name.
select token, holder
from lease
where name = :name
for share;
