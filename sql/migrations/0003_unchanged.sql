-- A candidate that decides as the champion does: how that is known (role `unchanged`, words in
-- `note`), and a verdict of its own, which spends no error and promotes nobody.

alter table evaluation drop constraint evaluation_role_check;
alter table evaluation add constraint evaluation_role_check check (
    role in (
        'candidate', 'champion', 'difference', 'estimate', 'check', 'refusal', 'evidence',
        'unchanged'
    )
);

alter table verdict drop constraint verdict_outcome_check;
alter table verdict add constraint verdict_outcome_check check (
    outcome in ('promote', 'hold', 'reject', 'unchanged')
);

alter table review drop constraint review_outcome_check;
alter table review add constraint review_outcome_check check (
    outcome in ('promote', 'hold', 'reject', 'unchanged')
);
