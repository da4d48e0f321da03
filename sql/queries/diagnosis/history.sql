-- Every diagnosis of a domain, without its statistics.
-- Grain: one row a cycle and series. Parameters: domain. Units: reasons is a JSON list of texts;
-- previous is the verdict of the series one cycle before, null for its first.
select
    cutoff,
    series,
    verdict,
    lag(verdict) over (
        partition by series
        order by cutoff
    ) as previous,
    explanation,
    action,
    reasons,
    measured_at
from diagnosis
where domain = :domain
order by cutoff, series;
