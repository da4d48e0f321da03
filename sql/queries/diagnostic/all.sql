-- Every diagnostic of a domain.
-- Grain: one row a generation and name. Parameters: domain.
select number, name, value
from diagnostic
where domain = :domain
order by number, name;
