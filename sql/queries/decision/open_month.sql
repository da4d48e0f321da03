-- Makes the partition of one month of decisions when there is none.
-- Grain: one row, empty. Parameters: month (YYYY_MM), low and high (decision ids, high excluded).
select open_month(:month, :low, :high);
