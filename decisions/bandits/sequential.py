"""Evidence that stays valid however often it is looked at: bets on paired differences.

A candidate is compared with the champion day after day. A few sums are kept, so that a day's rows
are read once, and their error holds for any number of rows and any distribution, at whatever look.
docs/gate.md states the theorem, what it assumes, and what was measured.

How fast evidence grows depends on how little a row can lose: on a capital that may be staked. One
action that the candidate prefers and the log hardly ever drew can cost hundreds of units of reward
in the one row where it is drawn and fails. A stake that follows each row's own range would weigh
rows by it, and test another hypothesis: a candidate that is worse just where actions are rare
would pass. Instead the prediction that a reward is held against is made cautious where the weight
is large (`cautious`). The doubly robust term is unbiased whatever is predicted, so all rows keep
the same stake and the same weight; no row can lose much; and the price is some variance.

Source: Ville (1939); Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables
by betting"; Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2022), "Anytime-valid off-policy
inference for contextual bandits".
"""

from datetime import datetime
from itertools import pairwise
from math import inf

import numpy as np

from decisions.bandits.intervals import Clusters, cluster_codes
from decisions.bandits.off_policy import LoggedDecisions, weights_of
from decisions.errors import DataError
from decisions.evidence import BETS, Evidence
from decisions.policy import FloatArray, pick
from decisions.shapes import check_rows, check_shape

CAP = 10.0  # units of reward that the actions drawn in a cluster may cost it: see docs/gate.md
LEAST = 5.0  # that the action of each of its rows may cost
_SAFE = 0.95  # of its capital that a bet may lose at one cluster


def wager(
    terms: FloatArray,
    *,
    lowest: float | FloatArray,
    margin: float,
    clusters: Clusters | None = None,
) -> Evidence:
    """Evidence of row-wise differences `terms` (n,), none of which can be below `lowest`.

    `lowest`, one number or one a row (n,), must be known without the outcomes. `clusters` (n,)
    name rows that were decided together and depend on each other; without them each row stands
    alone.

    Raises:
        DataError: a term is not finite or below `lowest`, or shapes are not (n,).
    """
    n = check_rows(terms=terms, clusters=clusters)
    if np.ndim(lowest):
        check_shape((n,), lowest=np.asarray(lowest))
    least = np.broadcast_to(np.asarray(lowest, dtype=np.float64), (n,))
    if not (np.isfinite(terms).all() and np.isfinite(least).all()):
        raise DataError(f"{int((~np.isfinite(terms)).sum())} of {n} differences are not finite")
    below = terms < least - 1e-9 * np.maximum(1.0, np.abs(least))
    if below.any():
        row = int(below.argmax())
        raise DataError(f"a difference of {terms[row]:g}, said to be at least {least[row]:g}")
    codes = np.arange(n) if clusters is None else cluster_codes(clusters)
    gains = np.bincount(codes, weights=terms - margin)
    reach = float(np.bincount(codes, weights=margin - least).max(initial=0.0))
    centred = np.bincount(codes, weights=terms - terms.mean()) if n else gains
    stakes = safe_stakes(reach)
    return Evidence(
        margin=margin,
        rows=n,
        total=float(terms.sum()),
        variance=float(centred @ centred),
        log_wealth=tuple(float(np.log1p(stake * gains).sum()) for stake in stakes),
        staked=tuple(stake * n for stake in stakes),
    )


def shared_cap(clusters: Clusters | None, n: int) -> FloatArray:
    """What drawing an action may cost each of `n` rows, (n,).

    CAP, shared by a cluster's rows, but LEAST at least: with less, predictions would be so far off
    that a cluster's draw told more of its arm than of the candidate.
    """
    check_shape((n,), clusters=clusters)
    if clusters is None:
        return np.full(n, CAP)
    codes = cluster_codes(clusters)
    return np.maximum(CAP / np.bincount(codes)[codes], LEAST)


def safe_stakes(reach: float) -> tuple[float, ...]:
    """BETS, lowered where `reach`, what a cluster can lose at most, would ruin them."""
    most = _SAFE / reach if reach > 0 else inf
    return tuple(min(bet, most) for bet in BETS)


def cautious(
    moved: FloatArray, logged: FloatArray, predicted: FloatArray | None, *, cap: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Weights and predicted rewards of every action, (n, k) both, that no row may lose much by.

    `moved` (n, k) is candidate minus champion, `logged` the probabilities of the log, `predicted`
    the rewards that are held against (None: zero). The weight w is moved / logged, zero where
    nothing could be logged. Where it is large, predictions are drawn towards the reward that would
    hurt most: to cap / w at most where w > 0, to 1 - cap / -w at least where w < 0. Drawing such
    an action then costs a row no more than its `cap` (n,), whatever its reward in [0, 1].
    """
    weights = np.divide(moved, logged, out=np.zeros_like(moved), where=logged > 0)
    q = np.zeros_like(moved) if predicted is None else predicted
    with np.errstate(divide="ignore"):
        share = cap[:, None] / np.abs(weights)
    return weights, np.where(weights > 0, np.minimum(q, share), np.maximum(q, 1 - share))


def paired_evidence(
    log: LoggedDecisions,
    *,
    candidate: FloatArray,
    champion: FloatArray,
    margin: float,
    predicted: FloatArray | None = None,
    together: Clusters | None = None,
) -> Evidence | None:
    """Evidence of the doubly robust difference of two policies, probabilities (n, k) both.

    Row by row the term is sum_a (e - h)(a) q(a) + (e - h)(a_i) / p_i (r_i - q(a_i)), e being the
    candidate and h the champion; q is what `cautious` makes of `predicted` (n, k). For the theorem
    to hold exactly, `predicted` must come from a model that saw no reward of these rows, such as
    the candidate's own; without it the log's cross-fitted q is taken, or zero. `together` (n,)
    names rows whose actions were drawn together; the log's clusters, where it is left out.

    What a row can be at least follows from all actions that could have been drawn and both
    rewards, so no outcome is looked at. None where that is unknown: probabilities were not logged,
    a reward is outside [0, 1], or outcomes are still awaited (`delay_factor`).

    Raises:
        DataError: see `weights_of`.
    """
    weights_of(log, candidate)
    weights_of(log, champion)
    check_shape(log.eligible.shape, predicted=predicted)
    bounded = bool(((log.reward >= 0) & (log.reward <= 1)).all())
    if log.logged is None or log.delay_factor is not None or not bounded:
        return None
    moved = np.where(log.eligible, candidate - champion, 0.0)
    guess = log.q if predicted is None else predicted
    guess = None if guess is None else np.where(log.eligible, guess, 0.0)
    clusters = log.clusters if together is None else together
    logged = np.where(log.eligible, log.logged, 0.0)
    weights, q = cautious(moved, logged, guess, cap=shared_cap(clusters, len(moved)))
    base = (moved * q).sum(axis=1)
    terms = base + pick(weights, log.action) * (log.reward - pick(q, log.action))
    least = np.where(weights > 0, -weights * q, weights * (1 - q)).min(axis=1, initial=0.0)
    return wager(terms, lowest=base + least, margin=margin, clusters=clusters)


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
    for (_, end, _), (since, _, _) in pairwise(parts):
        if since < end:
            raise DataError(f"a span from {since}, though rows until {end} are counted already")
    whole = parts[0][2]
    for _, _, evidence in parts[1:]:
        whole = whole.plus(evidence)
    return whole
