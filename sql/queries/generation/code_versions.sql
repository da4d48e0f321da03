-- Which version of the code planned which generations.
-- Grain: one row a domain and version, the newest first.
select
    domain,
    code_version,
    min(number) as first_number,
    max(number) as last_number,
    count(*) as generations,
    min(planned_at) as first_planned_at,
    max(planned_at) as last_planned_at
from generation
group by domain, code_version
order by last_planned_at desc, domain, code_version;
