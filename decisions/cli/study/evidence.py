"""Verdicts that can be trusted: refusals, power, looks to promotion, yearly error, coverage.

*Refusals, power, coverage.* Logs of payments whose truth is known, drawn anew hundreds of times
(`evidence_support`): sound ones that are refused, wrong ones that are, and how often 95 %
intervals cover the truth.

*Promotion.* Every day two candidates arrive, are judged on the last three days of decisions, and
may replace the champion; the two best of those that were held are judged again on what has come
since. The claim: *in at most 5 % of years is any candidate promoted that is truly worse than the
champion by more than the margin of 0.1 percentage points*, worse on average over the decisions
that it was judged on. docs/gate.md states the theorem that it rests on.

Noise is real: cautious doubly robust differences of the policies that production trains, on three
days that a stabilised champion logged in the payments simulator, new days being drawn from these
payments with new arms, new actions and new answers (`evidence_noise`). Rows of one card and
attempt share their arm; "2" and "15 rows a card" are the same rows, so many to a card. Differences
are shifted to a truth that is set: all candidates just worse than the margin, which is the hardest
case; a mixture; and differences that swing together within sixty days.

*Luck of the arms* is what the theorem leaves out: a card keeps its arm from look to look, so the
capital tests the mean difference given the arms that were drawn. It differs from the mean over all
draws of arms by chance; one standard deviation of that is shown, for the cards of three days. In
the years every candidate's difference is off by such luck, the same at all its looks.
"""

from decisions.cli.report import Workbench
from decisions.cli.study.evidence_promotion import check_promotions
from decisions.cli.study.evidence_support import check_coverage, check_power, check_refusals


def run(bench: Workbench) -> None:
    """Everything that a verdict of payments rests on, measured; resumes where it was killed."""
    check_promotions(bench)
    check_refusals(bench)
    check_power(bench)
    check_coverage(bench)
