"""Classification data as a world of generations: name the label among a few that are allowed."""

import numpy as np
import polars as pl

from decisions.bandits.classification import Labelled
from decisions.bandits.generations import Day, MadeDays, chances, row_keys
from decisions.bandits.training_set import pair_features
from decisions.policy import FloatArray


def labelled_days(
    data: Labelled, *, seed: int, rows: int = 1_200, labels: int | None = None
) -> MadeDays:
    """A World of `rows` examples a generation, drawn with replacement.

    A right guess earns 1, any other 0; of the classes, `labels` drawn at random are eligible (the
    right one may not be among them), None for all. The baseline guesses uniformly.
    """
    contexts = pl.DataFrame(data.features, schema=[f"x{i}" for i in range(data.features.shape[1])])
    right = np.eye(data.classes)[data.label]
    allowed = data.classes if labels is None else labels

    def make(number: int, rows: int) -> Day:
        keys = row_keys(seed, number, rows)
        example = (keys.uniforms("labelled", "example")[:, 0] * len(right)).astype(np.int64)
        order = keys.uniforms("labelled", "eligible", columns=data.classes).argsort(axis=1)
        eligible = order.argsort(axis=1) < allowed
        success: FloatArray = right[example]
        return Day(
            context=contexts[example],
            eligible=eligible,
            success=success,
            control=float((success * eligible).sum(axis=1).mean() / allowed),
            **chances(keys),
        )

    features = pair_features(contexts, flags=np.eye(data.classes))
    return MadeDays(make=make, features=features, rows=rows, reference_rows=1_000)
