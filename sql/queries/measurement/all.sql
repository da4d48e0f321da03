-- Everything measured over the cycles of a domain.
-- Grain: one row a cycle, series and quantity. Parameters: domain. Units: values of reward are in
-- the domain's reward; shares and propensities are in [0, 1].
select cutoff, series, name, value
from measurement
where domain = :domain
order by cutoff, series, name;
