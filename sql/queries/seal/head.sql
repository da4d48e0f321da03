-- The newest link of the chain.
-- Grain: one row, none for an empty chain.
select number, digest
from seal
order by number desc
limit 1;
