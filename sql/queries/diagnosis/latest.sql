-- The newest diagnosis of each series, of every domain, and the verdict before it.
-- Grain: one row a domain and series. Units: statistics is JSON, see `diagnostics.oscillation`;
-- cycles counts the diagnoses of the series; previous is null for the first.
select
    l.domain,
    l.series,
    l.cutoff,
    l.verdict,
    l.explanation,
    l.action,
    l.reasons,
    l.statistics,
    l.measured_at,
    b.verdict as previous,
    c.cycles
from (
    select domain, series, max(cutoff) as cutoff, count(*) as cycles
    from diagnosis
    group by domain, series
) as c
inner join diagnosis as l
    on c.domain = l.domain and c.series = l.series and c.cutoff = l.cutoff
left join lateral (
    select verdict
    from diagnosis
    where domain = c.domain and series = c.series and cutoff < c.cutoff
    order by cutoff desc
    limit 1
) as b on true
order by l.domain, l.series;
