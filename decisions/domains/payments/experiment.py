"""The payments environment as a world of generations, and the reference's regimes."""

from functools import partial

import numpy as np

from decisions.bandits.arms import UNIFORM, Arm, records, run_arm, square_cb
from decisions.bandits.generations import Day, MadeDays, Record, chances, row_keys
from decisions.bandits.training_set import pair_features
from decisions.domains.payments.actions import DO_NOTHING, FLAG_MATRIX, eligible
from decisions.domains.payments.features import CODES, NUMERIC, Encoder, observe
from decisions.domains.payments.simulator import Environment

__all__ = ["PRESETS", "UNIFORM", "Arm", "Day", "Days", "Record", "records", "run_arm", "square_cb"]

PRESETS = {
    "calm": square_cb(100.0),
    "paper-like": square_cb(1000.0),
    "collapse": Arm(name="greedy", rule="greedy"),
}
"""The regimes of the reference: steady, oscillating, and one that stops exploring."""


class Days(MadeDays):
    """Days of one environment, made when first asked for and shared by all arms: a World."""

    def __init__(self, environment: Environment, rows: int = 10_000) -> None:
        """`rows` units a generation."""
        self.environment = environment
        make = partial(_day, environment, _encoder(environment))
        features = pair_features(
            make(0, 1).context, flags=FLAG_MATRIX, categorical=CODES, numeric=NUMERIC
        )
        super().__init__(make=make, features=features, rows=rows)


def _encoder(environment: Environment) -> Encoder:
    """Codes of every merchant and issuer there is; rates are not used here."""
    levels = (
        tuple(f"m{i}" for i in range(environment.merchants + environment.entries)),
        tuple(f"i{i}" for i in range(environment.issuers)),
    )
    return Encoder(levels=levels, rates=tuple((0.0,) * len(n) for n in levels), prior=0.0)


def _day(environment: Environment, encoder: Encoder, number: int, rows: int) -> Day:
    ranks = np.arange(rows, dtype=np.int64)
    units = environment.arrivals(number, ranks, per_day=rows)
    context = units.lazy().pipe(observe).collect()
    success = environment.success(units)
    return Day(
        context=encoder.encode(context),
        eligible=eligible(context),
        success=success,
        control=float(success[:, DO_NOTHING].mean()),
        **chances(row_keys(environment.seed, number, rows)),
    )
