"""Training on the earlier days of a log, judging on the later ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from decisions.bandits.linear import fit_logistic
from decisions.bandits.off_policy import LoggedDecisions, evaluate_pair
from decisions.bandits.policies import OraclePolicy, SquareCB, Uniform
from decisions.bandits.training_set import TrainingSet, pair_features
from decisions.domains.open_bandit.loader import CAMPAIGNS, FEATURES, item_features
from decisions.domains.open_bandit.policies import UNITS, ByCampaign, eligible, observe
from decisions.errors import DataError
from decisions.evaluation import Evaluation
from decisions.policy import Policy

BASELINE = ByCampaign(parts=(Uniform(),) * len(CAMPAIGNS))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Trains the policy of one campaign on what one logger did in it; the others stay.

    A click is rare (4 in 1,000), so gaps between predictions are about 0.002: `gamma` is set to
    move probability at such gaps, yet to stay near enough to uniform for a week's logs to judge.
    """

    campaign: str
    logger: str
    gamma: float = 3000.0
    inverse_penalty: float = 0.01

    def __call__(
        self, history: pl.LazyFrame, predecessors: Sequence[Policy], rng: np.random.Generator
    ) -> ByCampaign:
        """See Trainer. The newest predecessor keeps the other campaigns.

        Raises:
            DataError: no logged decision, or a predecessor of another domain.
        """
        seen = history.filter(
            pl.col("campaign") == self.campaign,
            pl.col("arm") == self.logger,
            pl.col("reward").is_not_null(),
        ).collect()
        if seen.is_empty():
            raise DataError(f"no decisions of {self.campaign}/{self.logger} to learn from")
        context = observe(seen.select(list(UNITS)).lazy()).collect()
        features = pair_features(
            context,
            flags=item_features(),
            categorical=("position", *FEATURES),
            numeric=("affinity",),
        )
        data = TrainingSet(
            context=context,
            action=seen["action"].list.first().cast(pl.Int64).to_numpy(),
            reward=seen["reward"].to_numpy(),
        )
        oracle = fit_logistic(data, rng, features=features, inverse_penalty=self.inverse_penalty)
        policy = OraclePolicy(oracle=oracle, rule=SquareCB(self.gamma))
        return _own(predecessors[0] if predecessors else BASELINE).with_part(
            self.campaign, policy, logger=self.logger
        )


def evaluate(
    candidate: Policy, champion: Policy, data: pl.LazyFrame, rng: np.random.Generator
) -> Evaluation:
    """Off-policy, by SNIPS, on the held-out decisions of the candidate's campaign and logger.

    Where the candidate changed no campaign, on all random logs. There is no request id, though
    three items are shown together: rows of one hour are one cluster.

    Refused where the logs cannot support the answer, as for women/bts once a propensity of 1e-6
    is among them.
    """
    del rng
    new, old = _own(candidate), _own(champion)
    rows = data.filter(
        pl.col("reward").is_not_null(),
        pl.col("arm") == (new.logger or "random"),
        (pl.col("campaign") == new.changed) | pl.lit(new.changed == ""),
    ).collect()
    context = observe(rows.select(list(UNITS)).lazy()).collect()
    possible = eligible(context)
    log = LoggedDecisions(
        eligible=possible,
        action=rows["action"].list.first().cast(pl.Int64).to_numpy(),
        propensity=rows["propensity"].to_numpy(),
        reward=rows["reward"].to_numpy(),
        clusters=rows["decided_at"].dt.truncate("1h").dt.epoch("s").to_numpy(),
        groups={"position": rows["position"].to_numpy()},
    )
    return evaluate_pair(
        log,
        candidate=new.probabilities(context, possible),
        champion=old.probabilities(context, possible),
        baselines={"uniform": BASELINE.probabilities(context, possible)},
    )


def _own(policy: Policy) -> ByCampaign:
    if not isinstance(policy, ByCampaign):
        raise DataError(f"a {type(policy).__name__}; this domain's policies are ByCampaign")
    return policy
