"""Evidence that stays valid however often it is looked at: bets, and a sequence of intervals.

Two ways to compare a candidate with the champion day after day. Both keep a few sums, so that a
day's rows are read once.

*Betting* (`wager`, `paired_evidence`) is what the gate reads. It promises nothing about large
samples: its error holds for any number of rows and any distribution within the range that the
logged probabilities allow. The range is read from contexts and probabilities, never from
outcomes. Conditional on the contexts, the hypothesis refuted is that the *average* true difference
over exactly the rows seen is at most the margin; it may drift from day to day. Where the range
widens from one day to another, stakes shrink, and days weigh by what was staked.

How fast evidence grows depends on that range: on the smallest logged probability of an action that
the candidate prefers. Where a champion explores with 0.0025 at least, half a point is found in 20
days of 10 000 decisions; where it explores ten times less, up to ten times as many are needed. The
remedy is a higher floor, not a looser gate.

*The normal mixture* (`normal_mixture`) needs no range and no bets, only mean and variance, and is
valid for large samples alone. Doubly robust differences are not normal where it matters: on
30 000 rows of payments their mean has a skewness of -0.18, and at the small errors that a year of
looks leaves, bounds from the normal distribution err several times too often
(`decisions study peeking`).

What betting assumes: the logged probabilities are the true ones; actions of different rows are
drawn independently; and the reward model q of a row has not seen the row's outcome. Cross-fitted q
has seen those of the *other* rows, whose bets in turn used a q that saw this one: exact would be a
q fitted on earlier rows only. The dependence is of order one over the rows.

Source: Ville (1939); Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables
by betting"; Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2022), "Anytime-valid off-policy
inference for contextual bandits"; Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024),
"Time-uniform central limit theory and asymptotic confidence sequences".
"""

from datetime import datetime
from itertools import pairwise
from math import inf, isfinite, log, sqrt

import numpy as np

from decisions.bandits.intervals import Clusters, cluster_codes
from decisions.bandits.off_policy import LoggedDecisions, weights_of
from decisions.errors import DataError
from decisions.evidence import BETS, Evidence
from decisions.policy import FloatArray, pick

_SAFE = 0.95  # of its capital that a bet may lose at one row


def wager(
    terms: FloatArray, *, lowest: float, margin: float, clusters: Clusters | None = None
) -> Evidence:
    """Evidence of row-wise differences `terms` (n,), none of which can be below `lowest`.

    `lowest` must be known without the outcomes. `clusters` (n,) name dependent rows; they widen
    `variance`, which is for people. Bets need no independence of rows, only that each row's
    expected difference is the true one whatever came before.

    Raises:
        DataError: a term is not finite or below `lowest`, or there are not as many clusters.
    """
    n = len(terms)
    if not (np.isfinite(terms).all() and isfinite(lowest)):
        raise DataError(f"{int((~np.isfinite(terms)).sum())} of {n} differences are not finite")
    if n and terms.min() < lowest - 1e-9 * max(1.0, abs(lowest)):
        raise DataError(f"a difference of {terms.min():g}, said to be at least {lowest:g}")
    gains, reach = terms - margin, margin - lowest
    most = _SAFE / reach if reach > 0 else inf
    stakes = [min(bet, most) for bet in BETS]
    return Evidence(
        margin=margin,
        rows=n,
        total=float(terms.sum()),
        variance=_variance(terms, clusters),
        first=next((place for place, bet in enumerate(BETS) if bet <= most), len(BETS) - 1),
        log_wealth=tuple(float(np.log1p(stake * gains).sum()) for stake in stakes),
        staked=tuple(stake * n for stake in stakes),
    )


def _variance(terms: FloatArray, clusters: Clusters | None) -> float:
    """Of the sum of `terms` (n,): squares of what each cluster adds to it."""
    if not len(terms):
        return 0.0
    centred = terms - terms.mean()
    if clusters is None:
        return float(centred @ centred)
    if len(clusters) != len(terms):
        raise DataError(f"{len(clusters)} cluster labels for {len(terms)} rows; wanted as many")
    sums = np.bincount(cluster_codes(clusters), weights=centred)
    return float(sums @ sums)


def paired_evidence(
    log: LoggedDecisions, *, candidate: FloatArray, champion: FloatArray, margin: float
) -> Evidence | None:
    """Evidence of the doubly robust difference of two policies, probabilities (n, k) both.

    Row by row the term is sum_a (e - h)(a) q(a) + (e - h)(a_i) / p_i (r_i - q(a_i)), e being the
    candidate and h the champion; q is zero where the log has none. What it can be at least follows
    from all actions that could have been drawn and both rewards, so no outcome is looked at.

    None where the range is unknown: probabilities were not logged, a reward is outside [0, 1], or
    outcomes are still awaited (`delay_factor`).

    Raises:
        DataError: see `weights_of`.
    """
    weights_of(log, candidate)
    weights_of(log, champion)
    bounded = bool(((log.reward >= 0) & (log.reward <= 1)).all())
    if log.logged is None or log.delay_factor is not None or not bounded:
        return None
    possible = log.eligible & (log.logged > 0)
    moved = np.where(log.eligible, candidate - champion, 0.0)
    weights = np.where(possible, moved / np.where(possible, log.logged, 1.0), 0.0)
    q = np.zeros_like(moved) if log.q is None else np.where(log.eligible, log.q, 0.0)
    base = (moved * q).sum(axis=1)
    terms = base + pick(weights, log.action) * (log.reward - pick(q, log.action))
    least = base[:, None] - np.where(weights > 0, weights * q, weights * (q - 1))
    lowest = float(least[possible].min()) if possible.any() else 0.0
    return wager(terms, lowest=lowest, margin=margin, clusters=log.clusters)


def accumulate(parts: list[tuple[datetime, datetime, Evidence]]) -> Evidence:
    """The evidence of several spans (since, until, evidence), each later than the one before.

    Raises:
        DataError: there is none, a span is empty, or one begins before the last one ended: its
            rows would be counted twice.
    """
    if not parts:
        raise DataError("no span to accumulate")
    for since, until, _ in parts:
        if not since < until:
            raise DataError(
                f"a span from {since} to {until}; wanted one that ends after it begins"
            )
    for (_, ended, _), (since, _, _) in pairwise(parts):
        if since < ended:
            raise DataError(f"a span from {since}, though rows until {ended} are counted already")
    found = parts[0][2]
    for _, _, evidence in parts[1:]:
        found = found.plus(evidence)
    return found


def normal_mixture(evidence: Evidence, *, error: float, tuned: float) -> float:
    """Half of the width of a one-sided confidence sequence for the mean difference.

    For large samples: with probability 1 - `error`, the mean lies above value - width at every
    time at once, from where the normal approximation holds. `tuned` is the number of rows at which
    it is narrowest; it must be chosen beforehand and stay.

    Source: Robbins (1970), "Statistical methods related to the law of the iterated logarithm";
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), one-sided form, with the variance of
    the total in place of rows times the variance of one.

    Raises:
        DataError: `error` is not in (0, 0.5), or `tuned` not above 0.
    """
    if not (0 < error < 0.5 and tuned > 0):
        raise DataError(
            f"error {error:g} and {tuned:g} rows; wanted 0 < error < 0.5, rows above 0"
        )
    if evidence.rows < 2 or evidence.variance == 0:
        return inf
    wanted = -2 * log(2 * error)
    scale = (wanted + log(wanted + 1) + 1) / tuned  # rho squared, nearly the best one
    time = evidence.rows * scale
    return evidence.standard_error * sqrt(
        2 * (1 + 1 / time) * log(1 + sqrt(1 + time) / (2 * error))
    )
