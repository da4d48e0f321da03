"""The payments environment as a world of generations, and the reference's regimes."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from decisions.bandits.arms import UNIFORM, Arm, records, run_arm, square_cb
from decisions.bandits.generations import Day, Record
from decisions.bandits.training_set import PairFeatures, pair_features
from decisions.domains.payments.actions import DO_NOTHING, FLAG_MATRIX, eligible
from decisions.domains.payments.features import CODES, NUMERIC, Encoder, observe
from decisions.domains.payments.simulator import Environment
from decisions.seeds import RowKeys

__all__ = ["PRESETS", "UNIFORM", "Arm", "Day", "Days", "Record", "records", "run_arm", "square_cb"]

REFERENCE_DAY = 100_000  # far from any generation: the batch on which churn is measured
REFERENCE_ROWS = 2_000

PRESETS = {
    "calm": square_cb(100.0),
    "paper-like": square_cb(1000.0),
    "collapse": Arm(name="greedy", rule="greedy"),
}
"""The regimes of the reference: steady, oscillating, and one that stops exploring."""


@dataclass
class Days:
    """Days of one environment, made when first asked for and shared by all arms: a World."""

    environment: Environment
    rows: int = 10_000
    kept: dict[int, Day] = field(default_factory=dict[int, Day])

    def day(self, number: int) -> Day:
        """See World."""
        return self._kept(number, self.rows)

    @property
    def reference(self) -> Day:
        """See World."""
        return self._kept(REFERENCE_DAY, REFERENCE_ROWS)

    @property
    def features(self) -> PairFeatures:
        """See World."""
        return pair_features(
            self.day(0).context, flags=FLAG_MATRIX, categorical=CODES, numeric=NUMERIC
        )

    @cached_property
    def encoder(self) -> Encoder:
        """Codes of every merchant and issuer there is; rates are not used here."""
        e = self.environment
        levels = (
            tuple(f"m{i}" for i in range(e.merchants + e.entries)),
            tuple(f"i{i}" for i in range(e.issuers)),
        )
        rates = tuple((0.0,) * len(names) for names in levels)
        return Encoder(levels=levels, rates=rates, prior=0.0)

    def _kept(self, number: int, rows: int) -> Day:
        if number not in self.kept:
            self.kept[number] = self._make(number, rows)
        return self.kept[number]

    def _make(self, number: int, rows: int) -> Day:
        ranks = np.arange(rows, dtype=np.int64)
        units = self.environment.arrivals(number, ranks, per_day=rows)
        keys = RowKeys(self.environment.seed, number * (1 << 32) + ranks)
        context = units.lazy().pipe(observe).collect()
        success = self.environment.success(units)
        return Day(
            context=self.encoder.encode(context),
            eligible=eligible(context),
            success=success,
            outcome=keys.uniforms("experiment", "outcome")[:, 0],
            draws=keys.uniforms("experiment", "draws", columns=3),
            late=keys.uniforms("experiment", "late", columns=2),
            hour_share=ranks / rows,
            control=float(success[:, DO_NOTHING].mean()),
        )
