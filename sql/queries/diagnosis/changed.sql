-- The series whose newest verdict is not the one that a channel was told last.
-- Grain: one row a series. Parameters: domain, channel. Units: previous is the verdict told last,
-- that of the first diagnosis where none was, or null where the first is itself to be told.
select
    d.cutoff,
    d.series,
    d.verdict,
    case when d.cutoff = d.first_cutoff then null else coalesce(t.verdict, d.first_verdict) end
        as previous,
    d.explanation,
    d.action
from (
    select distinct on (series)
        cutoff,
        series,
        verdict,
        explanation,
        action,
        min(cutoff) over (partition by series) as first_cutoff,
        first_value(verdict) over (
            partition by series
            order by cutoff
        ) as first_verdict
    from diagnosis
    where domain = :domain
    order by series, cutoff desc
) as d
left join lateral (
    select told.verdict
    from announcement as a
    inner join diagnosis as told
        on a.domain = told.domain and a.cutoff = told.cutoff and a.series = told.series
    where a.domain = :domain and a.series = d.series and a.channel = :channel
    order by a.cutoff desc
    limit 1
) as t on true
where
    d.verdict <> coalesce(t.verdict, d.first_verdict)
    or (t.verdict is null and d.cutoff = d.first_cutoff and d.verdict in ('oscillating', 'suspect'))
order by d.series;
