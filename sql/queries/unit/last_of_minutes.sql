-- The highest unit id in each of some minutes.
-- Grain: one row a minute with a unit. Parameters: domain, minute_list (minutes since 1970).
select m.minute, max(u.unit_id) as unit_id
from unnest(cast(:minute_list as bigint [])) as m (minute)
inner join unit as u
    on
        u.domain = :domain
        and u.unit_id >= m.minute << 24
        and u.unit_id < (m.minute + 1) << 24
group by m.minute
order by m.minute;
