-- The evaluation of a generation in long form.
-- Grain: one row an estimate or check. Parameters: domain, number.
select
    champion, role, name, value, lower, upper, level, method, n, effective_n, note, evaluated_at
from evaluation
where domain = :domain and number = :number
order by role, name;
