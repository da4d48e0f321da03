-- The plants of a domain that were decided of late, and how far each has come.
-- Grain: one row a plant. Parameters: domain, newest (decisions looked at). Units: starts_at is when
-- the newest decided period begins, period its number.
select distinct on (plant)
    plant,
    period,
    starts_at,
    machines,
    items,
    generation
from (
    select
        u.unit_id,
        u.payload ->> 'plant' as plant,
        cast(u.payload ->> 'period' as integer) as period,
        date_trunc('day', u.observed_at, 'utc') + interval '1 day' as starts_at,
        json_array_length(u.payload -> 'set_up') as machines,
        json_array_length(u.payload -> 'inventory') as items,
        d.generation
    from unit as u
    inner join decision as d on u.domain = d.domain and d.decision_id = u.unit_id * 64
    where u.domain = :domain
    order by u.unit_id desc
    limit :newest
) as decided
order by plant asc, unit_id desc;
