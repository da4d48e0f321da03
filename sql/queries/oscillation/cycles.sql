-- Everything measured of one series, and the cycles of its domain in which it was not.
-- Grain: one row a cycle of the domain. Parameters: domain, series. Units: value is the mean reward
-- minus that of the reference, lower and upper its 95 % interval, null in a cycle that has nothing
-- to be compared with where others do; gain is the same by all traffic or by simulation, nothing what the reference
-- would have earned; value, level, control and their bounds are in the domain's reward; shares,
-- propensities, churn and calibration in [0, 1]; null where it was not measured.
select
    cutoff,
    row_number() over (order by cutoff) as cycle,
    case when comparable then value end as value,
    gain,
    case when comparable then value - 1.96 * value_se end as lower,
    case when comparable then value + 1.96 * value_se end as upper,
    level,
    control,
    control - 1.96 * control_se as control_lower,
    control + 1.96 * control_se as control_upper,
    nothing,
    nothing - 1.96 * nothing_se as nothing_lower,
    nothing + 1.96 * nothing_se as nothing_upper,
    decisions,
    unresolved_share,
    negatives_share,
    entropy_normalised,
    effective_actions,
    propensity_minimum,
    propensity_1_percent,
    churn_total_variation,
    churn_greedy,
    score_ks,
    auc,
    calibration_error_greedy,
    calibration_error_unchosen,
    realizability_gap,
    bias_unchosen,
    ess_share,
    window_rows,
    window_cycles,
    window_uniform_share
from (
    select
        c.cutoff,
        count(*) filter (where m.name in ('control', 'gain')) > 0
        or sum(count(*) filter (where m.name in ('control', 'gain'))) over () = 0 as comparable,
        max(m.value) filter (where m.name = 'value') as value,
        max(m.value) filter (where m.name = 'value_se') as value_se,
        max(m.value) filter (where m.name = 'level') as level,
        max(m.value) filter (where m.name = 'control') as control,
        max(m.value) filter (where m.name = 'control_se') as control_se,
        max(m.value) filter (where m.name = 'gain') as gain,
        max(m.value) filter (where m.name = 'nothing') as nothing,
        max(m.value) filter (where m.name = 'nothing_se') as nothing_se,
        max(m.value) filter (where m.name = 'decisions') as decisions,
        max(m.value) filter (where m.name = 'unresolved_share') as unresolved_share,
        max(m.value) filter (where m.name = 'negatives_share') as negatives_share,
        max(m.value) filter (where m.name = 'entropy_normalised') as entropy_normalised,
        max(m.value) filter (where m.name = 'effective_actions') as effective_actions,
        max(m.value) filter (where m.name = 'propensity_minimum') as propensity_minimum,
        max(m.value) filter (where m.name = 'propensity_1_percent') as propensity_1_percent,
        max(m.value) filter (where m.name = 'churn_total_variation') as churn_total_variation,
        max(m.value) filter (where m.name = 'churn_greedy') as churn_greedy,
        max(m.value) filter (where m.name = 'score_ks') as score_ks,
        max(m.value) filter (where m.name = 'auc') as auc,
        max(m.value) filter (where m.name = 'calibration_error_greedy') as calibration_error_greedy,
        max(m.value) filter (where m.name = 'calibration_error_unchosen') as calibration_error_unchosen,
        max(m.value) filter (where m.name = 'realizability_gap') as realizability_gap,
        max(m.value) filter (where m.name = 'bias_unchosen') as bias_unchosen,
        max(m.value) filter (where m.name = 'ess_share') as ess_share,
        max(m.value) filter (where m.name = 'window_rows') as window_rows,
        max(m.value) filter (where m.name = 'window_cycles') as window_cycles,
        max(m.value) filter (
            where m.name = 'window_uniform_share'
        ) as window_uniform_share
    from (
        select cutoff
        from diagnosis
        where domain = :domain
        union
        select cutoff
        from measurement
        where domain = :domain and series = :series
    ) as c
    left join measurement as m
        on m.domain = :domain and m.series = :series and c.cutoff = m.cutoff
    group by c.cutoff
) as wide
order by cutoff;
