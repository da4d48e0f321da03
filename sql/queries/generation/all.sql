-- The generations of a domain.
-- Grain: one row a generation. Parameters: domain.
select number, parent, policy, cutoff, seed, config, code_version, planned_at
from generation
where domain = :domain
order by number;
