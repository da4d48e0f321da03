-- Each rule that the gate held a generation against, as JSON, and what was measured.
-- Grain: one row a verdict. Parameters: domain, first (the lowest number of a generation).
select
    number,
    reasons,
    note
from verdict
where domain = :domain and number >= :first
order by number;
