-- How much is sealed.
-- Grain: one row a domain and kind. Units: rows is rows sealed, seals the batches they came in.
select
    domain,
    kind,
    count(*) as seals,
    cast(sum(row_count) as bigint) as rows,
    min(sealed_at) as first_sealed_at,
    max(sealed_at) as last_sealed_at
from seal
group by domain, kind
order by domain, kind;
