"""Planners as policies of the spine: from units to decisions, and to files and back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from decisions.domains.lotsizing.decomposition import Decomposition, load_decomposition, save
from decisions.domains.lotsizing.forecast import forecast
from decisions.domains.lotsizing.instance import Instance, instance_of, to_json
from decisions.domains.lotsizing.network import NetworkRule, network_rule
from decisions.domains.lotsizing.plan import net_quantities, nominal_plan
from decisions.domains.lotsizing.plant import Plant, PlantState, check_action
from decisions.domains.lotsizing.rotation import GroupedRotation, rotation_of
from decisions.domains.lotsizing.world import state_of
from decisions.errors import ArtifactAltered, DataError
from decisions.policy import BoolArray, Draw, Policy
from decisions.seeds import RowKeys

ARM = "exploit"  # nothing is drawn: the plan is carried out
SEEN = ("plant", "instance", "inventory", "set_up", "horizon_left")


class Rule(Protocol):
    """What decides for a plant."""

    def act(self, state: PlantState) -> npt.NDArray[np.integer]:
        """What each machine makes, (n, M): 1 to I, or 0 to idle. A row decides for itself."""
        ...


@dataclass(frozen=True, eq=False)
class TunedRotation:
    """H2 of an instance; where the package does not hold it, it is tuned once it is asked."""

    instance: Instance

    @cached_property
    def rotation(self) -> GroupedRotation:
        """The rule itself."""
        return rotation_of(self.instance)

    def act(self, state: PlantState) -> npt.NDArray[np.integer]:
        """Actions (n, M)."""
        return self.rotation.act(state)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlantPolicy:
    """A rule for one instance, as the spine runs it.

    `training` is what its trainer has to tell: JSON, kept with the policy.
    """

    instance: Instance
    rule: Rule
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def plant(self) -> Plant:
        """The instance's kernels."""
        return Plant(self.instance)

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """The coming period of each plant, and behind it the plan of the next ones.

        `action` (n, 2 M) holds the items, then the net quantities, by machine. `nominal` begins
        with the plan's periods in the same form (`plan.Plan.rows`), and goes on with what is to
        be expected of it (`forecast.Forecast.rows`). `scores` (n, 1) is minus the expected cost
        of the coming period.

        Raises:
            DataError: a unit is of another instance, or in a state that no plant can be in.
        """
        del eligible
        self._check_instance(context)
        state = state_of(context, self.instance)
        plan = nominal_plan(self.plant, self.rule.act, state)
        chosen = plan.items[:, 0]
        check_action(self.plant, chosen)
        post, setup_cost = self.plant.apply(state, chosen)
        lost, holding = self.plant.expected_costs(post)
        behind = forecast(
            self.instance,
            inventory=state.inventory,
            produced=plan.produced,
            setup_cost=plan.setup_cost,
        )
        quantities = net_quantities(self.instance, state, chosen)
        certain = np.ones(len(chosen))
        return Draw(
            action=np.concatenate([chosen, quantities], axis=1).astype(np.float64),
            nominal=np.concatenate([plan.rows(), behind.rows()], axis=1),
            propensity=certain,
            arm=np.full(len(chosen), ARM),
            arm_propensity=certain,
            uniform=keys.uniforms("action")[:, 0],
            scores=-(setup_cost + lost + holding)[:, None],
        )

    def _check_instance(self, context: pl.DataFrame) -> None:
        missing = context["instance"].is_null().arg_true()
        if len(missing):
            raise DataError(
                f"instance of row {missing[0]} is missing; wanted the digest of the plant's model"
            )
        others = context.filter(pl.col("instance") != self.instance.digest)
        if others.height:
            raise DataError(
                f"instance of plant {others['plant'][0]} is {others['instance'][0][:12]}; this"
                f" policy plans {self.instance.name}, {self.instance.digest[:12]}: promote one"
                " that was trained for that plant"
            )


def observe(units: pl.LazyFrame) -> pl.LazyFrame:
    """What a planner sees of a unit."""
    return units.select(SEEN)


def eligible(context: pl.DataFrame) -> BoolArray:
    """A box of actions: always possible, (n, 1)."""
    return np.ones((context.height, 1), dtype=np.bool_)


def plant_policy(policy: Policy, instance: Instance | None = None) -> PlantPolicy:
    """`policy` as the one kind there is in this domain.

    Raises:
        DataError: it plans another instance than `instance`.
    """
    planned = cast("PlantPolicy", policy)
    if instance is not None and planned.instance.digest != instance.digest:
        raise DataError(
            f"a policy of {planned.instance.name} ({planned.instance.digest[:12]}) is compared on"
            f" {instance.name} ({instance.digest[:12]}): both must plan the same instance"
        )
    return planned


def dump(policy: Policy) -> dict[str, bytes]:
    """A policy's files: the plant, how it decides, and the digests of both."""
    planned = plant_policy(policy)
    kind = kind_of(planned)
    files = kind.dump(planned.rule) | {_PLANT: to_json(planned.instance).encode()}
    header = {
        "kind": kind.name,
        "instance": planned.instance.digest,
        "training": dict(planned.training),
        "files": {name: sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    told = {"policy": header, "sha256": _digest(header)}
    return files | {_HEADER: json.dumps(told, indent=1, sort_keys=True).encode()}


def kind_of(policy: PlantPolicy) -> "Kind":
    """How a policy decides."""
    return next(each for each in KINDS if isinstance(policy.rule, each.rules))


def load(files: dict[str, bytes]) -> Policy:
    """The policy that `dump` wrote; it plans the instance among its files, and no other.

    Raises:
        ArtifactAltered: a file is missing, not the one that was written, or of another instance.
    """
    header = _header(files)
    for name, digest in header["files"].items():
        if sha256(files.get(name, b"")).hexdigest() != digest:
            raise ArtifactAltered(f"{name} of the policy is missing or was altered: not loaded")
    instance = instance_of(files[_PLANT].decode())
    if instance.digest != header["instance"]:
        raise ArtifactAltered(
            f"instance of the policy is {header['instance'][:12]}, its plant file is that of"
            f" {instance.name}, {instance.digest[:12]}: not loaded"
        )
    kind = next((each for each in KINDS if each.name == header["kind"]), None)
    if kind is None:
        raise ArtifactAltered(f"kind of the policy is {header['kind']!r}; nothing here reads it")
    rule = kind.load(files, instance)
    return PlantPolicy(instance=instance, rule=rule, training=header["training"])


_HEADER, _PLANT = "policy.json", "plant.json"
_ROTATION, _NETWORK = "rotation.json", "network.safetensors"


def _digest(header: Mapping[str, Any]) -> str:
    return sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def _header(files: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        told = json.loads(files[_HEADER])
        header, digest = told["policy"], told["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactAltered(f"{_HEADER} is missing or no description of a policy") from error
    if _digest(header) != digest:
        raise ArtifactAltered(f"{_HEADER} was altered: its digest is not {digest}")
    return header


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A rule's name in files, and its way there and back."""

    name: str
    rules: tuple[type[Any], ...]
    dump: Callable[[Any], dict[str, bytes]]
    load: Callable[[Mapping[str, bytes], Instance], Rule]


def _dump_rotation(rule: GroupedRotation | TunedRotation) -> dict[str, bytes]:
    rotation = rule.rotation if isinstance(rule, TunedRotation) else rule
    return {_ROTATION: json.dumps(asdict(rotation)).encode()}


def _load_rotation(files: Mapping[str, bytes], instance: Instance) -> Rule:
    told = json.loads(files[_ROTATION])
    rule = GroupedRotation(
        groups=tuple(tuple(group) for group in told["groups"]), low=told["low"], gap=told["gap"]
    )
    rule.check(instance)
    return rule


def _dump_network(rule: NetworkRule) -> dict[str, bytes]:
    return {_NETWORK: rule.content}


def _load_network(files: Mapping[str, bytes], instance: Instance) -> Rule:
    return network_rule(files[_NETWORK], instance)


def _load_decomposition(files: Mapping[str, bytes], instance: Instance) -> Rule:
    return load_decomposition(instance, files)


KINDS = (
    Kind(
        name="rotation",
        rules=(GroupedRotation, TunedRotation),
        dump=_dump_rotation,
        load=_load_rotation,
    ),
    Kind(name="network", rules=(NetworkRule,), dump=_dump_network, load=_load_network),
    Kind(name="decomposition", rules=(Decomposition,), dump=save, load=_load_decomposition),
)
