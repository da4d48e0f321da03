"""What is known about a policy before it acts."""

from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from decisions.evidence import Evidence
from decisions.shapes import check_level, check_rows


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its confidence interval; `level` is the coverage claimed, such as 0.95.

    `effective_n` is Kish's effective sample size of the weights, `n` itself without weights.
    """

    value: float
    lower: float
    upper: float
    level: float
    method: str
    n: int
    effective_n: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Candidate against champion on the same evidence.

    `difference` is candidate minus champion, paired (same units, or common random numbers).
    `estimates` holds everything else worth showing: baselines and further estimators, by name.
    `checks` are quantities that a gate may limit: effective sample share, churn, violations.
    `refusal` says why the evidence cannot answer; the estimates are then the whole line. `too_few`
    says that rows are all it lacks, which follows from the actions drawn, never from outcomes:
    the same rows and later ones together may answer. It is not stored.
    `unchanged` says that the candidate decides as the champion does, and how that is known: from
    policies and contexts alone, never from outcomes. There is then nothing to compare.
    `note` is what else a reader of the verdict must know, such as a candidate that learned
    nothing; it decides nothing, and is stored with the verdict.
    `evidence` is what a gate that is looked at every day reads in place of the interval; None
    where the domain's evaluation gathers none.
    """

    candidate: Estimate
    champion: Estimate
    difference: Estimate
    estimates: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    checks: dict[str, float] = field(default_factory=dict[str, float])
    refusal: str | None = None
    too_few: bool = False
    unchanged: str | None = None
    note: str = ""
    evidence: Evidence | None = None


def unknown(*, n: int, level: float = 0.95, method: str = "refused") -> Estimate:
    """The estimate of one who knows nothing: no gate accepts it.

    Raises:
        DataError: `level` is not between 0 and 1.
    """
    check_level(level)
    inf = float("inf")
    return Estimate(
        value=float("nan"), lower=-inf, upper=inf, level=level, method=method, n=n, effective_n=0.0
    )


def unchanged(why: str, *, n: int) -> Evaluation:
    """The evaluation of a candidate that decides as the champion does on all of `n` cases.

    The difference is zero, exactly; what the two are worth was not asked.
    """
    nothing = unknown(n=n, method="not asked: the candidate decides as the champion does")
    none = Estimate(
        value=0.0, lower=0.0, upper=0.0, level=1.0, method="no difference", n=n, effective_n=n
    )
    return Evaluation(candidate=nothing, champion=nothing, difference=none, unchanged=why)


def mean_estimate(
    terms: npt.NDArray[np.float64], *, level: float = 0.95, method: str = "normal"
) -> Estimate:
    """Normal interval for the mean of row-wise `terms`, shape (n,).

    With fewer than two rows the interval is the whole line.

    Raises:
        DataError: `terms` has another shape, or `level` is not between 0 and 1.
    """
    check_level(level)
    n = check_rows(terms=terms)
    if n < 2:
        return unknown(n=n, level=level, method=method)
    value = float(terms.mean())
    half = NormalDist().inv_cdf((1 + level) / 2) * float(terms.std(ddof=1)) / n**0.5
    return Estimate(
        value=value,
        lower=value - half,
        upper=value + half,
        level=level,
        method=method,
        n=n,
        effective_n=float(n),
    )
