-- The digest of one link of the chain.
-- Grain: one row, none when there is no such seal. Parameters: number.
select digest
from seal
where number = :number
order by number;
