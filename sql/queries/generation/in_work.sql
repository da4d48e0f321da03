-- The generations of a domain that a worker began to train or evaluate in the last half hour, or
-- did until a minute ago: a task that failed is tried again within that time. A lease lasts six
-- hours (flow.steps.LEASE_SECONDS), also that of a worker that was killed after a minute.
-- Grain: one row a generation and step. Parameters: domain. Units: step is "train" or "evaluate".
select
    cast(split_part(name, '/', 3) as integer) as number,
    split_part(name, '/', 2) as step
from lease
where
    starts_with(name, :domain || '/')
    and split_part(name, '/', 2) in ('train', 'evaluate')
    and (
        expires_at > clock_timestamp() + interval '5 hours 30 minutes'
        or expires_at between clock_timestamp() - interval '1 minute' and clock_timestamp()
    )
order by number, step;
