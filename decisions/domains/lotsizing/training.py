"""Candidates of a generation."""

from collections.abc import Mapping

from decisions.domains.lotsizing.policies import plant_policy
from decisions.policy import Policy


def account(policy: Policy) -> Mapping[str, object]:
    """What a policy's training has to tell, and which plant it was for."""
    planned = plant_policy(policy)
    return {
        "plant": planned.instance.name,
        "instance": planned.instance.digest,
        **planned.training,
    }
