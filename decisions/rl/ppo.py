"""Proximal policy optimisation of any environment with a post-decision state.

Source: Schulman et al. (2017), "Proximal policy optimization algorithms". `pdppo` is a small
difference on this module: a second critic and another advantage.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Generic, Literal, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from decisions.rl import checkpoints
from decisions.rl.advantages import check_shapes, generalised_advantages, normalised
from decisions.rl.checkpoints import Json
from decisions.rl.environment import Environment, P, S
from decisions.rl.networks import Activation, ActorNetwork, Critic, actor_of, perceptron
from decisions.rl.policies import Actor
from decisions.rl.rollout import Collector, Rollout, key_of


@dataclass(frozen=True, kw_only=True)
class PPO:
    """PPO as it should be, by default; `paper()` is the baseline of PDPPO's authors.

    The defaults of the schedule, `keep_bias`, the actor's rate and its entropy were chosen for
    PPO on the plant 20x10, among a dozen settings of one seed each, by the return of the last
    policy on evaluation episodes: what that plant reports of PPO with them is a little flattered.
    """

    gamma: float = 0.98
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    epochs: int = 4
    minibatch_size: int | None = 400  # None: the whole batch
    environments: int = 32
    rollout_length: int = 25
    total_steps: int = 400_000
    learning_rate: float = 5e-4
    critic_learning_rate: float = 1e-3
    learning_rate_decay: bool = True  # in a straight line, to a tenth
    entropy_coefficient: float = 0.03  # of the mean entropy of a head
    value_coefficient: float = 1.0
    max_grad_norm: float | None = 0.5
    hidden: tuple[int, ...] = (128, 128)
    actor_activation: Activation = "tanh"
    critic_activation: Activation = "tanh"
    initial: Literal["orthogonal", "published"] = "orthogonal"
    actor_gain: float = 0.01  # of its last layer at the start: close to indifferent
    keep_bias: float | None = 5.0  # initial logit of what is set up (`networks.Keeping`)
    trainable: Literal["all", "last_layer"] = "all"  # of the actor
    ratio: Literal["joint", "per_head"] = "joint"
    returns: Literal["gae", "monte_carlo"] = "gae"
    expected_rewards: bool = False  # the world's rewards by their mean, where it is known
    reward_scale: float = 1.0
    popart: bool = True
    normalise_advantages: bool = True
    bootstrap_truncation: bool = True  # wanted False where observations tell the time left
    spread_starts: bool = True  # columns begin at different ages
    retained_chunks: int = 0  # older rollouts that every update learns from again
    critic_only_steps: int = 0  # before the actor moves, after a warm start
    curve_interval: int = 10_000  # steps between points of the curve
    evaluation_interval: int = 100_000  # steps between those that are evaluated
    checkpoint_interval: int = 100_000
    threads: int = 1

    @classmethod
    def paper(cls) -> Self:
        """The published behaviour, its defects included: only the actor's last layer learns.

        Source: the code of "Post-decision proximal policy optimization with dual critic networks"
        (2025), arXiv 2504.05150. A joint loss and one optimiser over networks that share nothing
        is the same, under Adam, as a loss and an optimiser for each.
        """
        return cls(
            gamma=0.9,
            epochs=40,
            minibatch_size=None,
            environments=4,
            rollout_length=100,
            total_steps=1_000_000,
            learning_rate=5.5e-4,
            learning_rate_decay=False,
            entropy_coefficient=0.001,
            value_coefficient=0.7,
            max_grad_norm=None,
            actor_activation="relu",
            initial="published",
            actor_gain=5 / 3,  # He's for tanh
            keep_bias=None,
            trainable="last_layer",
            ratio="per_head",
            returns="monte_carlo",
            popart=False,
            normalise_advantages=False,
            bootstrap_truncation=False,
            spread_starts=False,
            retained_chunks=5,
            curve_interval=4_000,
        )

    @property
    def critics(self) -> tuple[Literal["state", "post"], ...]:
        """What the critics see."""
        return ("state",)

    def estimate(self, rollout: Rollout, values: "list[Values]") -> "Estimates":
        """Advantages and targets of a rollout, in scaled rewards."""
        reward = self.reward_scale * (rollout.decision_reward + rollout.world_reward)
        advantage = self.advantages(rollout, reward, values[0])
        return Estimates(advantage, (advantage + values[0].value,))

    def advantages(self, rollout: Rollout, reward: Tensor, values: "Values") -> Tensor:
        """Advantages (T, B) over one critic's values, of one stream of rewards (T, B)."""
        return generalised_advantages(
            reward,
            values.value,
            self.following(rollout, values),
            rollout.ended,
            gamma=self.gamma,
            gae_lambda=1.0 if self.returns == "monte_carlo" else self.gae_lambda,
        )

    def following(self, rollout: Rollout, values: "Values") -> Tensor:
        """A critic's values of what follows each period, (T, B)."""
        return rollout.following(*values, bootstrap_truncation=self.bootstrap_truncation)


class Values(NamedTuple):
    """A critic's values of a rollout: (T, B), and of its final states (E,)."""

    value: Tensor
    final: Tensor


class Estimates(NamedTuple):
    """Advantages (T, B), and of each critic what it is to learn (T, B)."""

    advantage: Tensor
    targets: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """How the policy did after `step` steps, those of all columns together.

    `training_return` is the mean return, undiscounted and unscaled, of the `episodes` that ended
    since the point before, None if none did; `evaluation_return` is what `evaluate` said of the
    policy, None where it was not asked.
    """

    step: int
    episodes: int
    training_return: float | None
    evaluation_return: float | None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The last policy of a run, its critics and its whole curve: nothing was chosen from it."""

    actor: Actor
    critics: tuple[Critic, ...]
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Independent rows (n, ...) to learn from; the entry j of `seen` is what critic j sees."""

    observation: Tensor
    mask: Tensor | None
    action: Tensor
    log_probability: Tensor
    advantage: Tensor
    seen: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]

    def take(self, rows: Tensor | slice) -> "Batch":
        """Those rows."""
        observation = self.observation[rows]
        return Batch(
            observation=observation,
            mask=None if self.mask is None else self.mask[rows],
            action=self.action[rows],
            log_probability=self.log_probability[rows],
            advantage=self.advantage[rows],
            seen=tuple(
                observation if seen is self.observation else seen[rows] for seen in self.seen
            ),
            targets=tuple(target[rows] for target in self.targets),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All of it."""
        named = {name: getattr(self, name) for name in _SINGLE}
        named |= {f"seen.{j}": x for j, x in enumerate(self.seen)}
        named |= {f"targets.{j}": x for j, x in enumerate(self.targets)}
        return named if self.mask is None else named | {"mask": self.mask}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Batch":
        """The batch that `tensors` were taken from."""
        critics = range(sum(name.startswith("targets.") for name in tensors))
        return cls(
            mask=tensors.get("mask"),
            seen=tuple(tensors[f"seen.{j}"] for j in critics),
            targets=tuple(tensors[f"targets.{j}"] for j in critics),
            **{name: tensors[name] for name in _SINGLE},
        )


_SINGLE = ("observation", "action", "log_probability", "advantage")


class Learner:
    """Networks and their optimisers, one each: the other mutable half of a training run."""

    def __init__(self, environment: Environment[S, P], config: PPO, *, seed: int) -> None:
        self.actor = actor_of(
            environment,
            config.hidden,
            config.actor_activation,
            generator_of(seed, "actor's weights"),
            initial="orthogonal" if config.initial == "orthogonal" else "kaiming",
            gain=config.actor_gain,
            keep_bias=config.keep_bias,
        )
        widths = {
            "state": environment.observation_size,
            "post": environment.post_observation_size,
        }
        self.critics = [
            Critic(
                perceptron(
                    (widths[seen], *config.hidden, 1),
                    config.critic_activation,
                    generator_of(seed, "critic's weights", seen),
                    initial="orthogonal" if config.initial == "orthogonal" else "xavier",
                ),
                rescaling=config.popart,
            )
            for seen in config.critics
        ]
        if config.trainable == "last_layer":
            self.actor.requires_grad_(False)
            self.actor.body[-1].requires_grad_(True)
        rates = (config.learning_rate, *[config.critic_learning_rate] * len(self.critics))
        self.optimisers = [
            torch.optim.Adam(
                [weight for weight in network.parameters() if weight.requires_grad],
                lr=rate,
                fused=True,
            )
            for network, rate in zip((self.actor, *self.critics), rates, strict=True)
        ]

    @property
    def networks(self) -> list[nn.Module]:
        """The actor, then the critics."""
        return [self.actor, *self.critics]

    def values(self, rollout: Rollout, config: PPO) -> list[Values]:
        """Each critic's values of what it sees of a rollout."""
        inputs = {
            "state": (rollout.observation, rollout.final_observation),
            "post": (rollout.post_observation, rollout.final_post_observation),
        }
        with torch.no_grad():
            return [
                Values(critic(inputs[seen][0]), critic(inputs[seen][1]))
                for critic, seen in zip(self.critics, config.critics, strict=True)
            ]

    def batch(self, rollout: Rollout, config: PPO) -> Batch:
        """The rows of a rollout with their advantages and targets under the present critics."""
        advantage, targets = config.estimate(rollout, self.values(rollout, config))
        flat = rollout.observation.flatten(0, 1)
        return Batch(
            observation=flat,
            mask=None if rollout.mask is None else rollout.mask.flatten(0, 1),
            action=rollout.action.flatten(0, 1),
            log_probability=rollout.log_probability.flatten(0, 1),
            advantage=advantage.flatten(),
            seen=tuple(
                flat if seen == "state" else rollout.post_observation.flatten(0, 1)
                for seen in config.critics
            ),
            targets=tuple(target.flatten() for target in targets),
        )

    def start_from(self, trained: Trained) -> None:
        """Takes over weights: the actor's, and those of as many critics as there are."""
        self.actor.load_state_dict(trained.actor.network.state_dict())
        for critic, earlier in zip(self.critics, trained.critics, strict=False):
            critic.load_state_dict(earlier.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """Weights, and what the optimisers remember."""
        named: dict[str, Tensor] = {}
        for j, (network, optimiser) in enumerate(zip(self.networks, self.optimisers, strict=True)):
            named |= {f"{j}.weights.{name}": x for name, x in network.state_dict().items()}
            memory = cast("dict[int, dict[str, Tensor]]", optimiser.state_dict()["state"])
            for i, entry in memory.items():
                named |= {f"{j}.memory.{i}.{name}": x for name, x in entry.items()}
        return named

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Becomes the learner that `tensors` were taken from."""
        for j, (network, optimiser) in enumerate(zip(self.networks, self.optimisers, strict=True)):
            network.load_state_dict(_within(tensors, f"{j}.weights"))
            memory: dict[int, dict[str, Tensor]] = {}
            for path, x in _within(tensors, f"{j}.memory").items():
                i, name = path.split(".")
                memory.setdefault(int(i), {})[name] = x
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": memory, "param_groups": groups})

    def set_rates(self, config: PPO, step: int) -> None:
        """Learning rates for what comes after `step` steps."""
        left = 1.0 - 0.9 * step / config.total_steps if config.learning_rate_decay else 1.0
        self.optimisers[0].param_groups[0]["lr"] = left * config.learning_rate
        for optimiser in self.optimisers[1:]:
            optimiser.param_groups[0]["lr"] = left * config.critic_learning_rate

    def step(self, index: int, loss: Tensor, config: PPO) -> None:
        """One step of a network, 0 the actor, down `loss`."""
        optimiser = self.optimisers[index]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if config.max_grad_norm is not None:
            weights = optimiser.param_groups[0]["params"]
            nn.utils.clip_grad_norm_(weights, config.max_grad_norm, foreach=True)
        optimiser.step()


def surrogate(
    log_probability: Tensor,
    behaviour: Tensor,
    advantage: Tensor,
    *,
    clip_range: float,
    ratio: Literal["joint", "per_head"] = "joint",
) -> Tensor:
    """The clipped objective to climb, of log-probabilities (n, heads) and advantages (n,).

    "joint" clips the ratio of whole actions; "per_head" that of each head on its own.

    Source: Schulman et al. (2017), equation 7.
    """
    check_shapes(log_probability=log_probability, behaviour=behaviour)
    change = log_probability - behaviour
    if ratio == "joint":
        change = change.sum(1)
    else:
        advantage = advantage[:, None].expand(len(advantage), change.shape[1])
    check_shapes(change=change, advantage=advantage)
    moved = change.exp()
    clipped = moved.clamp(1.0 - clip_range, 1.0 + clip_range)
    return torch.minimum(moved * advantage, clipped * advantage).mean()


def objective(actor: ActorNetwork, part: Batch, config: PPO) -> Tensor:
    """What the actor climbs: the surrogate, and the mean entropy of a head by its coefficient."""
    log_probability, entropy = actor.evaluate(part.observation, part.mask, part.action)
    climbed = surrogate(
        log_probability,
        part.log_probability,
        part.advantage,
        clip_range=config.clip_range,
        ratio=config.ratio,
    )
    if config.entropy_coefficient == 0.0:
        return climbed
    return climbed + config.entropy_coefficient * entropy.mean()


def minibatches(
    rows: int, size: int | None, generator: torch.Generator
) -> Iterator[Tensor | slice]:
    """Rows in a random order, about `size` at a time; all as they are without a size."""
    if size is None:
        yield slice(None)
    else:
        order = torch.randperm(rows, generator=generator)
        yield from order.tensor_split(max(1, round(rows / size)))


def update(
    learner: Learner,
    batch: Batch,
    config: PPO,
    generator: torch.Generator,
    *,
    actor_learns: bool = True,
) -> None:
    """Several epochs over `batch`: the actor climbs the surrogate, each critic fits its target."""
    if config.normalise_advantages:
        batch = replace(batch, advantage=normalised(batch.advantage))
    for critic, target in zip(learner.critics, batch.targets, strict=True):
        critic.rescale(target)
    for _ in range(config.epochs):
        for rows in minibatches(len(batch.advantage), config.minibatch_size, generator):
            part = batch.take(rows)
            if actor_learns:
                learner.step(0, -objective(learner.actor, part, config), config)
            for j, critic in enumerate(learner.critics):
                loss = critic.loss(part.seen[j], part.targets[j])
                learner.step(1 + j, config.value_coefficient * loss, config)


class Run(Generic[S, P]):
    """A training run between two updates: everything that a checkpoint holds."""

    def __init__(self, environment: Environment[S, P], config: PPO, *, seed: int) -> None:
        self.learner = Learner(environment, config, seed=seed)
        self.collector = Collector(
            environment,
            config.environments,
            seed=seed,
            post="post" in config.critics,
            expected_rewards=config.expected_rewards,
        )
        self.acting = generator_of(seed, "actions")
        self.shuffling = generator_of(seed, "minibatches")
        self.window: deque[Batch] = deque(maxlen=config.retained_chunks + 1)
        self.curve: list[CurvePoint] = []
        self.step = 0

    def advance(self, config: PPO) -> None:
        """One rollout, and one update on it and on the older ones that are retained."""
        actor, collector = self.learner.actor, self.collector
        if self.step == 0 and config.spread_starts:
            self.step += collector.spread(actor, self.acting)
        rollout = collector.collect(actor, config.rollout_length, self.acting)
        self.window.append(self.learner.batch(rollout, config))
        self.learner.set_rates(config, self.step)
        update(
            self.learner,
            joined(self.window),
            config,
            self.shuffling,
            actor_learns=self.step >= config.critic_only_steps,
        )
        self.step += rollout.terminated.numel()

    def point(self, evaluation_return: float | None) -> CurvePoint:
        """What the curve has to say about the steps since the last point; appends it."""
        returns = self.collector.finished
        point = CurvePoint(
            step=self.step,
            episodes=len(returns),
            training_return=math.fsum(returns) / len(returns) if returns else None,
            evaluation_return=evaluation_return,
        )
        self.curve.append(point)
        returns.clear()
        return point

    def tensors(self) -> dict[str, Tensor]:
        """All of it."""
        rows = [[math.nan if x is None else x for x in astuple(point)] for point in self.curve]
        return {
            "step": torch.tensor(self.step),
            "curve": torch.tensor(rows, dtype=torch.float64).reshape(-1, 4),
            "acting": self.acting.get_state(),
            "shuffling": self.shuffling.get_state(),
            **{f"learner.{name}": x for name, x in self.learner.tensors().items()},
            **{f"collector.{name}": x for name, x in self.collector.tensors().items()},
            **{
                f"window.{i}.{name}": x
                for i, batch in enumerate(self.window)
                for name, x in batch.tensors().items()
            },
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Becomes the run that `tensors` were taken from."""
        self.step = int(tensors["step"])
        rows = cast("list[list[float]]", tensors["curve"].tolist())
        self.curve = [
            CurvePoint(
                step=int(step),
                episodes=int(episodes),
                training_return=None if math.isnan(training) else training,
                evaluation_return=None if math.isnan(evaluation) else evaluation,
            )
            for step, episodes, training, evaluation in rows
        ]
        self.acting.set_state(tensors["acting"])
        self.shuffling.set_state(tensors["shuffling"])
        self.learner.restore(_within(tensors, "learner"))
        self.collector.restore(_within(tensors, "collector"))
        chunks = _within(tensors, "window")
        count = len({name.split(".")[0] for name in chunks})
        self.window.extend(Batch.of(_within(chunks, str(i))) for i in range(count))


def train(
    environment: Environment[S, P],
    config: PPO,
    *,
    seed: int,
    identity: Mapping[str, str] | None = None,
    start: Trained | None = None,
    evaluate: Callable[[Actor], float] | None = None,
    report: Callable[[CurvePoint], None] | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """The policy that `config.total_steps` steps of `environment` make of a new one.

    `config` says which method: `PPO`, or `pdppo.PDPPO`. Everything random follows from `seed`.
    With `start` weights are those of an earlier run or of `imitation.imitate`. `evaluate` tells
    the curve the return of the policy so far, on episodes of the caller's own. `checkpoint` is
    written now and then; when the file is there already the run goes on from it, and ends, on
    one thread, with the bits it would have had without the interruption. `identity` says what
    was learned, for instance the digest of the instance.

    Raises:
        DataError: the checkpoint is of another configuration, seed or `identity`.
        ArtifactAltered: the checkpoint is damaged.
    """
    facts = _facts(environment, config, seed, identity or {})
    with threads(config.threads):
        run = Run(environment, config, seed=seed)
        if start is not None:
            run.learner.start_from(start)
        if checkpoint is not None and checkpoint.exists():
            run.restore(checkpoints.read(checkpoint, facts))
        while run.step < config.total_steps:
            before = run.step
            run.advance(config)
            done = run.step >= config.total_steps
            if done or _passed(before, run.step, config.curve_interval):
                asked = done or _passed(before, run.step, config.evaluation_interval)
                actor = Actor(run.learner.actor)
                point = run.point(evaluate(actor) if evaluate and asked else None)
                if report is not None:
                    report(point)
            if checkpoint is not None and (
                done or _passed(before, run.step, config.checkpoint_interval)
            ):
                checkpoints.write(checkpoint, run.tensors(), facts)
        return Trained(
            actor=Actor(run.learner.actor),
            critics=tuple(run.learner.critics),
            curve=tuple(run.curve),
        )


@contextmanager
def threads(count: int) -> Generator[None]:
    """PyTorch on `count` threads while open, then on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def generator_of(seed: int, *purpose: str) -> torch.Generator:
    """PyTorch's generator for one purpose of a run."""
    return torch.Generator().manual_seed(key_of(seed, *purpose))


def joined(batches: Sequence[Batch]) -> Batch:
    """The rows of several batches."""
    if len(batches) == 1:
        return batches[0]
    parts = [batch.tensors() for batch in batches]
    return Batch.of({name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, under their names there."""
    start = f"{prefix}."
    return {name[len(start) :]: x for name, x in tensors.items() if name.startswith(start)}


def _passed(before: int, now: int, interval: int) -> bool:
    return before // interval < now // interval


def _facts(
    environment: Environment[S, P], config: PPO, seed: int, identity: Mapping[str, str]
) -> dict[str, Json]:
    """What a checkpoint must agree with."""
    return {
        "method": type(config).__name__,
        "seed": seed,
        "identity": dict(identity),
        "environment": {
            "actions": repr(environment.actions),
            "horizon": environment.horizon,
            "observation_size": environment.observation_size,
            "post_observation_size": environment.post_observation_size,
        },
        "config": cast("dict[str, Json]", asdict(config)),
    }
