-- Everything measured of one series of a domain.
-- Grain: one row a cycle and quantity. Parameters: domain, series. Units: values of reward are in
-- the domain's reward; shares and propensities are in [0, 1].
select cutoff, name, value
from measurement
where domain = :domain and series = :series
order by cutoff, name;
