-- The cut-offs whose cycles were diagnosed.
-- Grain: one row a cut-off. Parameters: domain.
select distinct cutoff
from diagnosis
where domain = :domain
order by cutoff;
