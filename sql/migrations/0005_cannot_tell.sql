-- A sixth verdict on a series: "cannot tell", where a swing that matters could pass unseen.
alter table diagnosis drop constraint diagnosis_verdict_check;
alter table diagnosis add constraint diagnosis_verdict_check check (
    verdict in ('oscillating', 'suspect', 'cannot tell', 'stable', 'degenerate', 'inconclusive')
);
