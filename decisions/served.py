"""A stored policy as an MLflow model, loaded by this module: no code or object is unpickled.

`mlflow.pyfunc.load_model("models:/payments@champion").predict(context, params={"first": 0})`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from decisions.actions import ActionBox
from decisions.domain import Domain
from decisions.domains import domain_named
from decisions.policy import Policy
from decisions.seeds import RowKeys
from decisions.store import artifacts


@dataclass(frozen=True)
class Served:
    """A domain's policy, in the form that MLflow calls."""

    domain: Domain
    policy: Policy

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, int] | None = None
    ) -> pd.DataFrame:
        """`action` and the `propensity` it was drawn with, for each row of a context.

        Row i is drawn with the random number `first` + i of `seed` (both 0 unless given), as the
        decision of that id is: give no two rows of one seed the same number.
        """
        given = {"seed": 0, "first": 0, **(params or {})}
        context = pl.from_pandas(model_input).select(
            pl.col(name).cast(dtype) for name, dtype in self._context().items()
        )
        keys = RowKeys(int(given["seed"]), given["first"] + np.arange(len(context)))
        draw = self.policy.act(context, self.domain.eligible(context), keys)
        box = isinstance(self.domain.actions, ActionBox)
        actions = draw.action.tolist() if box else draw.action[:, 0].astype(np.int64)
        return pd.DataFrame({"action": actions, "propensity": draw.propensity})

    def _context(self) -> pl.Schema:
        return self.domain.observe(pl.LazyFrame(schema=self.domain.units)).collect_schema()


def _load_pyfunc(  # pyright: ignore[reportUnusedFunction]  (MLflow's name for it)
    path: str, model_config: Mapping[str, str]
) -> Served:
    """The policy in the archive at `path`.

    Raises:
        ArtifactAltered: its bytes are not those that were registered.
        DataError: the domain is not installed here.
    """
    domain = domain_named(model_config["domain"])
    content = artifacts.verified(Path(path).read_bytes(), model_config["artefact_sha256"])
    return Served(domain, domain.load(artifacts.unpack(content)))
