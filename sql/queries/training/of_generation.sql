-- What a generation was trained on.
-- Grain: one row, none before it is trained. Parameters: domain, number. Units: details is JSON,
-- see `flow.train_generation`.
select digest, row_count, details, trained_at
from training
where domain = :domain and number = :number
order by number;
