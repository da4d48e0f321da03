-- Every generation with what the gate saw: its value, its difference from the champion, the verdict.
-- Grain: one row a generation, the baseline included. Units: value and difference are mean rewards
-- of the domain's reward, level is what their intervals cover; refusal says why there are none;
-- decisions_logged counts decisions taken by the generation.
select
    g.domain,
    g.number,
    g.policy,
    g.cutoff,
    e.champion,
    e.value,
    e.lower as value_lower,
    e.upper as value_upper,
    d.value as difference,
    d.lower as difference_lower,
    d.upper as difference_upper,
    coalesce(d.level, e.level) as level,
    r.note as refusal,
    v.outcome as verdict,
    v.note,
    coalesce(l.decisions_logged, 0) as decisions_logged
from generation as g
left join evaluation as e
    on g.domain = e.domain and g.number = e.number and e.role = 'candidate'
left join evaluation as d
    on g.domain = d.domain and g.number = d.number and d.role = 'difference'
left join evaluation as r
    on g.domain = r.domain and g.number = r.number and r.role = 'refusal'
left join verdict as v on g.domain = v.domain and g.number = v.number
left join (
    select domain, generation, cast(sum(decisions) as bigint) as decisions_logged
    from tally
    group by domain, generation
) as l on g.domain = l.domain and g.number = l.generation
order by g.domain, g.number;
