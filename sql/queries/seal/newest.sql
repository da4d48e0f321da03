-- The newest links of the chain.
-- Grain: one row a seal, the newest first. Parameters: count (rows at most). Units: digests are
-- SHA-256, hexadecimal.
select
    number,
    domain,
    kind,
    batch,
    row_count,
    sealed_at,
    encode(digest, 'hex') as digest
from seal
order by number desc
limit :count;
