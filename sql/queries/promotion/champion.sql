-- The champion.
-- Grain: one row, none before the first promotion. Parameters: domain.
select number
from champion
where domain = :domain
order by number;
