-- Where each domain stands: its champion, its newest cycle, and what was decided and settled.
-- Grain: one row a domain of which anything is stored. Units: times are UTC; candidates counts the
-- generations of the newest cut-off, judged those with a verdict; in_work says that a worker began
-- to train, evaluate or judge in the last half hour, or did until a minute ago: a task that failed
-- is tried again within that time, and a lease lasts six hours (flow.steps.LEASE_SECONDS), also
-- that of a worker that was killed after a minute; decisions of the last day are those of batches
-- that end within a day of the newest decision.
select
    s.domain,
    c.number as champion,
    g.policy as champion_policy,
    c.promoted_at,
    c.promoted_by,
    n.cutoff,
    n.candidates,
    n.judged,
    exists(
        select 1
        from lease as l
        where
            starts_with(l.name, s.domain || '/')
            and split_part(l.name, '/', 2) in ('train', 'evaluate', 'judge')
            and (
                l.expires_at > clock_timestamp() + interval '5 hours 30 minutes'
                or l.expires_at between
                clock_timestamp() - interval '1 minute' and clock_timestamp()
            )
    ) as in_work,
    t.decisions,
    t.last_decided_at,
    t.decisions_of_last_day,
    s.outcomes_until
from (
    select
        domain,
        max(sealed_at) filter (where kind = 'outcome') as outcomes_until
    from seal
    group by domain
) as s
left join champion as c on s.domain = c.domain
left join generation as g on c.domain = g.domain and c.number = g.number
left join (
    select distinct on (g.domain)
        g.domain,
        g.cutoff,
        count(*) as candidates,
        count(v.number) as judged
    from generation as g
    left join verdict as v on g.domain = v.domain and g.number = v.number
    where g.number > 0
    group by g.domain, g.cutoff
    order by g.domain, g.cutoff desc
) as n on s.domain = n.domain
left join (
    select
        a.domain,
        n.last_decided_at,
        cast(sum(a.decisions) as bigint) as decisions,
        cast(
            sum(a.decisions) filter (
                where a.last_decided_at > n.last_decided_at - interval '1 day'
            ) as bigint
        ) as decisions_of_last_day
    from tally as a
    inner join (
        select domain, max(last_decided_at) as last_decided_at
        from tally
        group by domain
    ) as n on a.domain = n.domain
    group by a.domain, n.last_decided_at
) as t on s.domain = t.domain
order by s.domain;
