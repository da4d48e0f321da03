-- Up to which seal all units of a domain have a decision or stand in quarantine.
-- Grain: one row, none when it is not known. Parameters: domain.
select seal
from decided_through
where domain = :domain
order by seal;
