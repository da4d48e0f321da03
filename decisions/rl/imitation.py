"""Learning from a teacher: an actor that chooses as it does, then critics of that actor.

Source: Ross, Gordon and Bagnell (2011), "A reduction of imitation learning and structured
prediction to no-regret online learning" (DAgger): after the first round the states are those that
the learner itself comes to, and the teacher says what it would have done there.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from decisions.rl.environment import Environment, P, S
from decisions.rl.ppo import PPO, Trained


def imitate(
    environment: Environment[S, P],
    teacher: Callable[[S], npt.NDArray[np.generic]],
    config: PPO,
    *,
    seed: int,
    steps: int = 200_000,
    rounds: int = 4,
) -> Trained:
    """An actor that chooses as `teacher` does, and critics of it, for `train(..., start=...)`.

    `steps` steps in all, in `rounds` rounds; `config` gives the networks and the critics' targets.
    """
    raise NotImplementedError
