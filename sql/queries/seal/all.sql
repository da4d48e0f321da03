-- The chain.
-- Grain: one row a seal. Parameters: after (number), count (rows at most).
select
    number,
    domain,
    kind,
    batch,
    part,
    row_count,
    sealed_at,
    content,
    fingerprints,
    previous,
    digest
from seal
where number > :after
order by number
limit :count;
