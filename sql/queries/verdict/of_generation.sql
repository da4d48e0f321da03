-- The verdict over a generation.
-- Grain: one row, none before it is judged. Parameters: domain, number.
select number, outcome, reasons, note, judged_at
from verdict
where domain = :domain and number = :number
order by number;
