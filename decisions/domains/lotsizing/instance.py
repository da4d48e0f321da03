"""A plant to plan: machines, items, costs and demand laws, from a file, a generator or a package.

Source: the four published instances and the rule of their generator belong to Felizardo, Fadda
and others (2025), "Post-decision proximal policy optimization with dual critic networks", arXiv
2504.05150.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from decisions.errors import DataError
from decisions.policy import FloatArray, IntArray

PACKAGED = ("15x5", "20x10", "25x10", "25x15", "easy_2x1", "tiny_2x1")
LARGEST = 1_000_000  # units; keeps every sum of quantities within 32 bits
LARGEST_DEMAND = 10_000
LONGEST = 1_000  # periods: tables hold every one of them
MOST = 1_000  # machines, and items
INTEGERS = ("production", "setup_loss", "capacity")


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """M machines that make I items; item i of an action is index i - 1 of these arrays.

    Raises:
        DataError: a field that no plant can have, naming it, what it is and what is wanted.
    """

    name: str
    horizon: int  # periods of an episode
    production: IntArray  # (M, I), units made in a period; 0: the machine cannot make the item
    setup_cost: FloatArray  # (M, I), of switching the machine to the item
    setup_loss: IntArray  # (M, I), units lost in the period of the switch
    capacity: IntArray  # (I,), stock kept at the end of a period at most
    holding_cost: FloatArray  # (I,), of a unit in stock at the end of a period
    lost_sales_cost: FloatArray  # (I,), of a unit of demand that stock cannot serve
    demand: FloatArray  # (I, K), probability of a demand of 0 to K - 1 units in a period

    def __post_init__(self) -> None:
        if not self.name:
            raise DataError("name is empty; wanted a name of the plant")
        if not 1 <= self.horizon <= LONGEST:
            raise DataError(
                f"horizon is {self.horizon}; wanted 1 to {LONGEST} periods: count in longer ones"
            )
        if self.production.ndim != 2 or self.production.size == 0:
            raise DataError(
                f"production has shape {self.production.shape}; wanted a row a machine with one"
                " number an item"
            )
        machines, items = self.production.shape
        if max(machines, items) > MOST:
            raise DataError(
                f"production has shape {self.production.shape}; wanted at most {MOST} machines"
                f" and {MOST} items: plan parts of the plant that share no machine"
            )
        for name in ("production", "setup_cost", "setup_loss"):
            _check(name, getattr(self, name), (machines, items))
        for name in ("capacity", "holding_cost", "lost_sales_cost"):
            _check(name, getattr(self, name), (items,))
        _check("demand", self.demand, (items, self.demand.shape[-1]), most=1.0)
        _reject("capacity", self.capacity, self.capacity < 1, "an integer >= 1")
        self._check_can_make()
        self._check_demand()

    def _check_can_make(self) -> None:
        made = (self.production > 0).any(axis=0)
        if not made.all():
            item = int(np.flatnonzero(~made)[0])
            raise DataError(
                f"production[*][{item}] is 0 for every machine: no machine can make item"
                f" {item + 1}; wanted at least one machine with a number > 0"
            )
        useful = (self.production > 0).any(axis=1)
        if not useful.all():
            machine = int(np.flatnonzero(~useful)[0])
            raise DataError(
                f"production[{machine}] is 0 for every item: machine {machine + 1} can make"
                " nothing; wanted at least one number > 0, or a plant without this machine"
            )

    def _check_demand(self) -> None:
        if self.demand.shape[1] > LARGEST_DEMAND:
            raise DataError(
                f"demand reaches {self.demand.shape[1] - 1} units; wanted less than"
                f" {LARGEST_DEMAND} in a period: count in larger units"
            )
        total = self.demand.sum(axis=1)
        _reject(
            "the probabilities of demand", total, abs(total - 1) > 1e-9, "a law that sums to 1"
        )

    @property
    def items(self) -> int:
        """I."""
        return self.production.shape[1]

    @property
    def machines(self) -> int:
        """M."""
        return self.production.shape[0]

    @property
    def mean_demand(self) -> FloatArray:
        """Units an item in a period, (I,)."""
        return self.demand @ np.arange(self.demand.shape[1], dtype=np.float64)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything a plan depends on, name included, in hexadecimal."""
        return sha256(json.dumps(_record(self), sort_keys=True).encode()).hexdigest()


def packaged(name: str) -> Instance:
    """One of the instances that come with the package.

    Raises:
        DataError: there is none of that name.
    """
    if name not in PACKAGED:
        raise DataError(f"no instance {name!r} is packaged; there are {', '.join(PACKAGED)}")
    folder = files("decisions.domains.lotsizing") / "instances"
    return instance_of((folder / f"{name}.json").read_text())


def read_instance(path: Path) -> Instance:
    """A plant of the user's own, from a JSON file as `instance_of` reads it.

    Raises:
        DataError: the file cannot be read, or is not a plant; the message names the field.
    """
    try:
        return instance_of(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def instance_of(text: str) -> Instance:
    """The plant that a JSON object describes: the fields of `Instance`, by their names.

    A number stands for all items (or all machines and items). `demand` is one law, or a list with
    one law an item; a law is `{"law": "binomial", "n": 20, "p": 0.4}`, `{"law": "uniform",
    "low": 0, "high": 6}` (both included) or `{"law": "pmf", "values": [0, 1], "probabilities":
    [0.5, 0.5]}`.

    Raises:
        DataError: naming the field, what was seen and what is wanted.
    """
    try:
        record = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise DataError(f"this is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"a plant is a JSON object; this is a {type(record).__name__}")
    given = cast(dict[str, Any], record)
    names = [field.name for field in fields(Instance)]
    for unknown in given.keys() - set(names):
        raise DataError(f"{unknown!r} is no field of a plant; the fields are {', '.join(names)}")
    for missing in [name for name in names if name not in given]:
        raise DataError(f"{missing} is missing; the fields of a plant are {', '.join(names)}")
    if not isinstance(given["name"], str):
        raise DataError(f"name is {given['name']!r}; wanted a text")
    production = _integers("production", given["production"], None)
    if production.ndim != 2 or production.size == 0:
        raise DataError(
            "production is not a table; wanted a row a machine with one number an item"
        )
    items = production.shape[1]
    return Instance(
        name=given["name"],
        horizon=int(_integers("horizon", given["horizon"], ())),
        production=production,
        setup_cost=_numbers("setup_cost", given["setup_cost"], production.shape),
        setup_loss=_integers("setup_loss", given["setup_loss"], production.shape),
        capacity=_integers("capacity", given["capacity"], (items,)),
        holding_cost=_numbers("holding_cost", given["holding_cost"], (items,)),
        lost_sales_cost=_numbers("lost_sales_cost", given["lost_sales_cost"], (items,)),
        demand=_demand(given["demand"], items),
    )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Raises DataError where a field is given twice: the last would win unseen."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{twice!r} is given {names.count(twice)} times; wanted each field once")
    return record


def to_json(instance: Instance) -> str:
    """A JSON object that `instance_of` reads back to the same plant, a row of numbers a line."""
    lines: list[str] = []
    for name, value in _record(instance).items():
        if isinstance(value, list) and isinstance(value[0], list | dict):
            rows = ",\n    ".join(json.dumps(row) for row in cast(list[Any], value))
            lines.append(f'  "{name}": [\n    {rows}\n  ]')
        else:
            lines.append(f'  "{name}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def named(name: str) -> Instance:
    """A packaged instance, or that of a JSON file.

    Raises:
        DataError: the file is no instance; the message names the field.
    """
    return packaged(name) if name in PACKAGED else read_instance(Path(name))


def generate(
    items: int, machines: int, rng: np.random.Generator, *, name: str = "generated"
) -> Instance:
    """A plant by the rule of the published ones, at their scale.

    Each number is the lowest of a grid with a probability of its own, the others share the rest
    equally. Departure from the source, which only warns: where no machine can make an item, or a
    machine can make nothing, that column or row of the production is drawn again.
    """
    shape = (machines, items)
    production = _min_biased(rng, 0, 40, lowest=0.4, shape=shape)
    while True:
        idle = np.flatnonzero(~(production > 0).any(axis=1))
        unmade = np.flatnonzero(~(production > 0).any(axis=0))
        if not len(idle) and not len(unmade):
            break
        redrawn = _min_biased(rng, 0, 40, lowest=0.4, shape=shape)
        production[idle] = redrawn[idle]
        production[:, unmade] = redrawn[:, unmade]
    expensive = _min_biased(rng, 0, 1, lowest=0.5, shape=(items,))
    return Instance(
        name=name,
        horizon=100,
        production=production,
        setup_cost=_min_biased(rng, 15, 30, lowest=0.2, shape=shape).astype(np.float64),
        setup_loss=_min_biased(rng, 1, 3, lowest=0.7, shape=shape),
        capacity=np.full(items, 100),
        holding_cost=np.full(items, 0.01),
        lost_sales_cost=np.where(expensive > 0, 1.1, 0.1),
        demand=np.tile(binomial(20, 0.4), (items, 1)),
    )


def binomial(n: int, p: float) -> FloatArray:
    """P(0), ..., P(n): exact fractions rounded once, so the same bits on every machine."""
    top, whole = Fraction(repr(p)).as_integer_ratio()
    rest = whole - top
    if rest == 0:
        return np.eye(n + 1)[n]
    weight, total = rest**n, whole**n
    terms: list[float] = []
    for k in range(n + 1):
        terms.append(weight / total)  # integers: rounded once
        weight = weight * (n - k) * top // ((k + 1) * rest)
    return np.array(terms)


def _min_biased(
    rng: np.random.Generator, low: int, high: int, *, lowest: float, shape: tuple[int, ...]
) -> IntArray:
    """Integers: `low` with probability `lowest`, the others up to `high` equally likely."""
    others = rng.integers(low + 1, high + 1, size=shape)
    return np.where(rng.random(shape) < lowest, low, others)


def _record(instance: Instance) -> dict[str, Any]:
    laws: list[dict[str, Any]] = []
    for row in instance.demand:
        values = np.flatnonzero(row)
        laws.append(
            {"law": "pmf", "values": values.tolist(), "probabilities": row[values].tolist()}
        )
    record: dict[str, Any] = {
        field.name: getattr(instance, field.name) for field in fields(instance)
    }
    arrays = {k: v.tolist() for k, v in record.items() if isinstance(v, np.ndarray)}
    return {**record, **arrays, "demand": laws}


def _check(
    name: str,
    values: npt.NDArray[Any],
    shape: tuple[int, ...],
    *,
    most: float = LARGEST,
) -> None:
    if values.shape != shape:
        raise DataError(f"{name} has shape {values.shape}; wanted {shape} as production has")
    whole = np.issubdtype(values.dtype, np.integer)
    if name in INTEGERS and not whole:
        _reject(name, values, values != np.floor(values), "an integer")
        raise DataError(f"{name} holds {values.dtype}; wanted an array of integers")
    wanted = f"{'an integer' if whole else 'a number'} >= 0 and <= {most:g}"
    _reject(name, values, ~((values >= 0) & (values <= most)), wanted)


def _reject(name: str, values: npt.NDArray[Any], bad: npt.NDArray[Any], wanted: str) -> None:
    """Raises DataError for the first of `values` that is bad."""
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        place = "".join(f"[{i}]" for i in index)
        raise DataError(f"{name}{place} is {values[index]}; wanted {wanted}")


def _numbers(name: str, value: object, shape: tuple[int, ...] | None) -> FloatArray:
    """A JSON number or nested lists of them; of `shape` where one is given."""
    array = np.array(_number_rows(name, value), dtype=np.float64)
    if shape is None or array.shape == shape:
        return array
    if array.ndim == 0:
        return np.full(shape, float(array))
    raise DataError(f"{name} has shape {array.shape}; wanted {shape}, or one number for all")


def _integers(name: str, value: object, shape: tuple[int, ...] | None) -> IntArray:
    array = _numbers(name, value, shape)
    whole = np.isfinite(array) & (array == np.floor(array)) & (abs(array) <= 2**53)
    _reject(name, array, ~whole, "an integer")
    return array.astype(np.int64)


def _number_rows(name: str, value: object) -> Any:
    """`value`, after checking that it is a number or lists of equal length of numbers."""
    if isinstance(value, list):
        rows = cast(list[object], value)
        checked = [_number_rows(f"{name}[{i}]", row) for i, row in enumerate(rows)]
        for i, row in enumerate(checked):
            if np.shape(row) != np.shape(checked[0]):
                raise DataError(
                    f"{name}[{i}] has shape {np.shape(row)}; wanted that of {name}[0],"
                    f" {np.shape(checked[0])}"
                )
        return checked
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{name} is {value!r}; wanted a number")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise DataError(f"{name} is too large; wanted a number of at most {LARGEST}")
    return value


def _demand(value: object, items: int) -> FloatArray:
    """Probabilities (I, K) of one law for all items, or of a list with one law an item."""
    if isinstance(value, list):
        given = cast(list[object], value)
        if len(given) != items:
            raise DataError(f"demand has {len(given)} laws; wanted {items}, one an item, or one")
        laws = [_law(f"demand[{i}]", law) for i, law in enumerate(given)]
    else:
        laws = [_law("demand", value)] * items
    table = np.zeros((items, max(len(law) for law in laws)))
    for row, law in zip(table, laws, strict=True):
        row[: len(law)] = law
    return table


_LAWS: dict[str, tuple[str, ...]] = {
    "binomial": ("n", "p"),
    "uniform": ("low", "high"),
    "pmf": ("values", "probabilities"),
}


def _law(name: str, value: object) -> FloatArray:
    """P(0), ..., P(K - 1) of one law."""
    record = cast(dict[str, object], value if isinstance(value, dict) else {})
    law = record.get("law")
    if not isinstance(law, str) or law not in _LAWS:
        raise DataError(f"{name} is {value!r}; wanted an object with law one of {list(_LAWS)}")
    wanted = _LAWS[law]
    if record.keys() != {"law", *wanted}:
        raise DataError(f"{name} has fields {sorted(record)}; a {law} law has law, {wanted}")
    if law == "binomial":
        return _binomial_law(name, record)
    if law == "uniform":
        low = _units(f"{name}.low", record["low"])
        high = _units(f"{name}.high", record["high"])
        if high < low:
            raise DataError(f"{name}.high is {high}; wanted at least low, {low}")
        return np.where(np.arange(high + 1) >= low, 1 / (high + 1 - low), 0.0)
    return _pmf_law(name, record["values"], record["probabilities"])


def _binomial_law(name: str, record: dict[str, object]) -> FloatArray:
    n = _units(f"{name}.n", record["n"])
    p = float(_numbers(f"{name}.p", record["p"], ()))
    if not 0 <= p <= 1:
        raise DataError(f"{name}.p is {p}; wanted a probability, 0 to 1")
    if n > 1000:
        raise DataError(f"{name}.n is {n}; wanted at most 1000: state the law as a pmf")
    return binomial(n, p)


def _pmf_law(name: str, values: object, probabilities: object) -> FloatArray:
    units = _as_list(f"{name}.values", values)
    chances = _numbers(
        f"{name}.probabilities", _as_list(f"{name}.probabilities", probabilities), None
    )
    if len(units) != len(chances) or not units or chances.ndim != 1:
        raise DataError(
            f"{name} has {len(units)} values and probabilities of shape {chances.shape}; wanted"
            " one probability a value"
        )
    _reject(f"{name}.probabilities", chances, ~((chances >= 0) & (chances <= 1)), "0 to 1")
    total = float(chances.sum())
    if abs(total - 1) > 1e-9:
        raise DataError(f"{name}.probabilities sum to {total!r}; wanted 1 to within 1e-9")
    places = [_units(f"{name}.values[{i}]", unit) for i, unit in enumerate(units)]
    if len(set(places)) != len(places):
        raise DataError(f"{name}.values are {places}; wanted each once")
    law = np.zeros(max(places) + 1)
    law[places] = chances
    return law


def _as_list(name: str, value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise DataError(f"{name} is {value!r}; wanted a list of numbers")
    return cast(list[object], value)


def _units(name: str, value: object) -> int:
    """A demand in units."""
    number = int(_integers(name, value, ()))
    if not 0 <= number < LARGEST_DEMAND:
        raise DataError(f"{name} is {number}; wanted 0 to {LARGEST_DEMAND - 1} units")
    return number
