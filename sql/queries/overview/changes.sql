-- What changed with the newest cycle of each domain: less than a day before its cut-off, or since.
-- Grain: one row an event; a refusal stands for the verdict that followed it. Units: kind is
-- promotion, diagnosis, verdict, refusal or quarantine;
-- subject is the policy, the series or the kind of rows; was is the verdict before, of a diagnosis;
-- times counts the rows set aside for one reason, and is one otherwise.
with since as (
    select domain, max(cutoff) - interval '1 day' as since
    from (
        select domain, cutoff
        from generation
        union all
        select domain, cutoff
        from diagnosis
    ) as cycle
    group by domain
),

event as (
    select
        p.domain,
        p.promoted_at as at,
        'promotion' as kind,
        p.number,
        g.policy as subject,
        p.promoted_by as who,
        null as was,
        p.reason as what,
        1 as times
    from promotion as p
    inner join generation as g on p.domain = g.domain and p.number = g.number
    where p.promoted_by <> 'begin'
    union all
    select domain, cutoff, 'diagnosis', null, series, null, was, verdict, 1
    from (
        select
            domain,
            cutoff,
            series,
            verdict,
            lag(verdict) over (
                partition by domain, series
                order by cutoff
            ) as was
        from diagnosis
    ) as d
    where d.verdict <> d.was
    union all
    select v.domain, v.judged_at, 'verdict', v.number, g.policy, null, null, v.outcome, 1
    from verdict as v
    inner join generation as g on v.domain = g.domain and v.number = g.number
    where not exists (
        select from evaluation as e
        where e.domain = v.domain and e.number = v.number and e.role = 'refusal'
    )
    union all
    select e.domain, e.evaluated_at, 'refusal', e.number, g.policy, null, null, e.note, 1
    from evaluation as e
    inner join generation as g on e.domain = g.domain and e.number = g.number
    where e.role = 'refusal'
    union all
    select
        domain, max(quarantined_at), 'quarantine', null, kind, null, null, reason,
        cast(count(*) as integer)
    from quarantine
    where
        quarantined_at > (select s.since from since as s where s.domain = quarantine.domain)
    group by domain, kind, reason
)

select e.domain, e.at, e.kind, e.number, e.subject, e.who, e.was, e.what, e.times
from event as e
inner join since as s on e.domain = s.domain
where e.at > s.since
order by e.domain, e.at desc, e.kind, e.number, e.subject, e.what;
