-- The generations of a domain that a worker trains or evaluates, or did a minute ago: a task that
-- failed is tried again within that time.
-- Grain: one row a generation and step. Parameters: domain. Units: step is "train" or "evaluate".
select
    cast(split_part(name, '/', 3) as integer) as number,
    split_part(name, '/', 2) as step
from lease
where
    starts_with(name, :domain || '/')
    and split_part(name, '/', 2) in ('train', 'evaluate')
    and expires_at > clock_timestamp() - interval '1 minute'
order by number, step;
