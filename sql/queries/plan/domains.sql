-- The domains that plan production: the payload of their newest unit tells what machines are set up
-- for.
-- Grain: one row a domain.
select s.domain
from (select distinct domain from seal where kind = 'unit') as s
cross join lateral (
    select payload
    from unit
    where domain = s.domain
    order by unit_id desc
    limit 1
) as u
where json_typeof(u.payload -> 'set_up') = 'array'
order by s.domain;
