-- Makes the partition of one month of decisions when there is none.
-- Grain: one row, empty. Parameters: day (a date in the month).
select open_month(cast(:day as date));
