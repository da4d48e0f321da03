"""A policy for three campaigns, of which a generation changes one."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from decisions.actions import ActionSet
from decisions.bandits.policies import Assessment, BanditPolicy, drawn
from decisions.bandits.serialisation import dump as dump_files
from decisions.bandits.serialisation import load as load_files
from decisions.domains.open_bandit.loader import CAMPAIGNS, FEATURES
from decisions.errors import DataError
from decisions.policy import BoolArray, Draw, FloatArray
from decisions.seeds import RowKeys

ACTIONS = ActionSet(
    names=tuple(f"{campaign}/{i}" for campaign, k in CAMPAIGNS.items() for i in range(k))
)
_STARTS = dict(zip(CAMPAIGNS, np.cumsum([0, *CAMPAIGNS.values()]).tolist(), strict=False))
UNITS = pl.Schema(
    {
        "campaign": pl.String(),
        "position": pl.Int16(),  # 1 to 3, from left to right
        **dict.fromkeys(FEATURES, pl.Int16()),
        "affinity": pl.Float64(),
    }
)


def first_action(campaign: pl.Expr) -> pl.Expr:
    """The action of item 0 of each row's campaign: an item's action is this plus the item."""
    return campaign.replace_strict(_STARTS, return_dtype=pl.Int16)


def observe(units: pl.LazyFrame) -> pl.LazyFrame:
    """Everything known of a slot on the page is its context."""
    return units.select(list(UNITS))


def eligible(context: pl.DataFrame) -> BoolArray:
    """The items of each row's campaign, (n, 160).

    Raises:
        DataError: a campaign that is not in the logs.
    """
    owner = np.repeat(list(CAMPAIGNS), list(CAMPAIGNS.values()))
    strange = sorted(set(context["campaign"].to_list()) - set(CAMPAIGNS))
    if strange:
        raise DataError(f"unknown campaigns {strange}; there are {list(CAMPAIGNS)}")
    return context["campaign"].to_numpy()[:, None].astype(owner.dtype) == owner


@dataclass(frozen=True, kw_only=True)
class ByCampaign:
    """A policy for each campaign, in the order of CAMPAIGNS.

    `changed` is the campaign whose policy is new in this generation, and `logger` the one whose
    logs it was trained on and is to be judged on; both are empty where nothing changed.
    """

    parts: tuple[BanditPolicy, ...]
    changed: str = ""
    logger: str = ""

    def assess(self, context: pl.DataFrame, eligible: BoolArray) -> Assessment:
        """See BanditPolicy; each row by the policy of its campaign."""
        probabilities, scores = np.zeros(eligible.shape), np.zeros(eligible.shape)
        nominal, predicted = eligible.argmax(axis=1).astype(np.int64), False
        for campaign, part in zip(CAMPAIGNS, self.parts, strict=True):
            mask = (context["campaign"] == campaign).to_numpy()
            if mask.any():
                seen = part.assess(context.filter(pl.Series(mask)), eligible[mask])
                probabilities[mask], nominal[mask] = seen.probabilities, seen.nominal
                if seen.scores is not None:
                    scores[mask], predicted = seen.scores, True
        return Assessment(
            probabilities=probabilities,
            nominal=nominal,
            scores=scores if predicted else None,
            arm="explore",
        )

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Rows that sum to one over the eligible items, (n, 160)."""
        return self.assess(context, eligible).probabilities

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One item a row."""
        return drawn(self.assess(context, eligible), keys)

    def with_part(self, campaign: str, policy: BanditPolicy, *, logger: str) -> "ByCampaign":
        """This, with a new policy for one campaign."""
        at = list(CAMPAIGNS).index(campaign)
        parts = (*self.parts[:at], policy, *self.parts[at + 1 :])
        return replace(self, parts=parts, changed=campaign, logger=logger)


def dump(policy: object) -> dict[str, bytes]:
    """The files of a policy of this domain.

    Raises:
        DataError: it is of another kind.
    """
    if not isinstance(policy, ByCampaign):
        raise DataError(f"a {type(policy).__name__}; this domain's policies are ByCampaign")
    return dump_files(policy, kinds=(ByCampaign,))


def load(files: dict[str, bytes]) -> ByCampaign:
    """The policy of `dump`.

    Raises:
        ArtifactAltered: a file is not what was dumped.
    """
    return load_files(files, kinds=(ByCampaign,))
