-- Who holds a lease, and until when.
-- Grain: one row, none when it was never taken. Parameters: name.
select token, holder, expires_at
from lease
where name = :name
order by name;
