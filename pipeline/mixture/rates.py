"""How often each task is drawn.

Rates are shares of draws that sum to 1. A policy turns task sizes into rates; a ceiling then
keeps small tasks from being repeated too often. Formulas and golden values: seqio's mixing rates
(cap before temperature) and UniMax, arXiv:2304.09151.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import MixtureError

RatePolicy = Literal[
    "proportional", "capped", "temperature", "sqrt", "uniform", "unimax", "explicit"
]
RateUnits = Literal["examples", "tokens"]
FloatArray = npt.NDArray[np.float64]

DEFAULT_TEMPERATURE = 2.0
DEFAULT_CAP = 65_536
DEFAULT_MAX_EPOCHS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRule:
    """How sizes become rates."""

    policy: RatePolicy = "temperature"
    temperature: float = DEFAULT_TEMPERATURE
    """Only for `temperature`: 1 is proportional, infinity uniform."""
    cap: float | None = DEFAULT_CAP
    """Size beyond which a task counts as no larger; for `capped` and `temperature`."""
    weights: Mapping[str, float] | None = None
    """Only for `explicit`: a number of at least 0 for every task."""
    max_epochs: float | None = DEFAULT_MAX_EPOCHS
    """Most passes over one task; `None` for no ceiling. `unimax` has it inside its formula."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGroup:
    """Tasks and groups that share one rate: the rate of the group times the rate inside it."""

    name: str
    members: tuple[str | TaskGroup, ...]
    rule: RateRule = RateRule()
    """Rates inside the group; its own size is the sum of the sizes of members that are drawn."""


def task_rates(
    sizes: Mapping[str, float],
    rule: RateRule = RateRule(),
    *,
    num_draws: float | None = None,
) -> dict[str, float]:
    """Return the rate of every task, in the order of `sizes`.

    Args:
        sizes: Examples (or tokens) per task. A task without examples gets rate 0.
        rule: Policy and its options.
        num_draws: Draws of the whole run, in the unit of `sizes`; needed for `unimax` and for
            the ceiling on passes, which is left out without it.

    Raises:
        MixtureError: Weights, options or sizes are not usable (MIX001), or every task is empty
            or has weight 0 (MIX002).
    """
    names = list(sizes)
    counts = np.array([sizes[name] for name in names], dtype=np.float64)
    _check_rule(rule, counts)
    shares = _policy_shares(names, counts, rule, num_draws)
    shares = np.where(counts > 0, shares, 0.0)
    if not shares.sum() > 0:
        raise MixtureError(
            "MIX002",
            f"none of {len(names)} tasks can be drawn: each is empty or has weight 0",
            where="mixture",
            hint="Give at least one task with training examples a weight above 0",
        )
    rates = shares / shares.sum()
    if num_draws is not None and rule.max_epochs is not None and rule.policy != "unimax":
        rates = limit_repeats(rates, counts, num_draws=num_draws, max_epochs=rule.max_epochs)
    return dict(zip(names, rates.tolist(), strict=True))


def group_rates(
    group: TaskGroup, sizes: Mapping[str, float], *, num_draws: float | None = None
) -> dict[str, float]:
    """Return the rate of every task of a nested group.

    The ceiling on passes holds inside each group, for the draws that the group gets.

    Raises:
        MixtureError: See `task_rates`; or a name is unknown or stands twice (MIX003).
    """
    names = _task_names(group)
    unknown = [name for name in names if name not in sizes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if unknown or twice:
        problem = f"unknown task {unknown[0]!r}" if unknown else f"{twice[0]!r} stands twice"
        raise MixtureError(
            "MIX003", problem, where=f"mixture group {group.name!r}", hint="Name each task once"
        )
    member_sizes = {
        _name(member): sizes[member] if isinstance(member, str) else _drawn_size(member, sizes)
        for member in group.members
    }
    outer = task_rates(member_sizes, group.rule, num_draws=num_draws)
    rates: dict[str, float] = {}
    for member in group.members:
        rate = outer[_name(member)]
        if isinstance(member, str):
            rates[member] = rate
        elif rate == 0 and not _only_lacks_weights(member, group, sizes):
            rates |= dict.fromkeys(_task_names(member), 0.0)
        else:
            draws = None if num_draws is None else num_draws * rate
            inner = group_rates(member, sizes, num_draws=draws)
            rates |= {name: rate * share for name, share in inner.items()}
    return rates


def _drawn_size(group: TaskGroup, sizes: Mapping[str, float]) -> float:
    """Return the examples (or tokens) of a group, without members that have weight 0."""
    return sum(
        sizes[member] if isinstance(member, str) else _drawn_size(member, sizes)
        for member in group.members
        if not _has_weight_0(member, group)
    )


def _only_lacks_weights(member: TaskGroup, group: TaskGroup, sizes: Mapping[str, float]) -> bool:
    """Return whether a group that is to be drawn has examples, but none with a weight above 0."""
    has_examples = any(sizes[name] > 0 for name in _task_names(member))
    return has_examples and not _drawn_size(member, sizes) and not _has_weight_0(member, group)


def _has_weight_0(member: str | TaskGroup, group: TaskGroup) -> bool:
    weights = group.rule.weights or {}
    return group.rule.policy == "explicit" and weights.get(_name(member)) == 0


def limit_repeats(
    rates: FloatArray, sizes: FloatArray, *, num_draws: float, max_epochs: float
) -> FloatArray:
    """Return rates in which no task is passed over more than `max_epochs` times.

    What a limited task loses goes to the others in proportion to their rates. When all tasks
    together cannot fill the run, every task is repeated equally often, more than the ceiling.

    Args:
        rates: Shares that sum to 1, `[T]`.
        sizes: Examples per task, `[T]`.
        num_draws: Draws of the whole run.
        max_epochs: Most passes over one task.
    """
    most = np.where(rates > 0, max_epochs * sizes / num_draws, 0.0)
    # Rounding may leave the sum of exactly full tasks a little above 1.
    if most.sum() <= 1.0 + 1e-9:
        return most / most.sum()
    limited = np.zeros(len(rates), dtype=np.bool_)
    result = rates.copy()
    for _ in range(len(rates)):
        over = ~limited & (result > most)
        if not over.any():
            break
        limited |= over
        result[limited] = most[limited]
        free = ~limited
        if not rates[free].any():
            break
        result[free] = rates[free] / rates[free].sum() * (1.0 - most[limited].sum())
    return result


def rates_in_examples(
    rates: Mapping[str, float], mean_tokens: Mapping[str, float]
) -> dict[str, float]:
    """Return rates of examples under which tasks get `rates` as shares of tokens.

    Args:
        rates: Shares of tokens, summing to 1.
        mean_tokens: Mean tokens per example of each task.
    """
    shares = {name: rate / mean_tokens[name] if rate > 0 else 0.0 for name, rate in rates.items()}
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def _policy_shares(
    names: Sequence[str], counts: FloatArray, rule: RateRule, num_draws: float | None
) -> FloatArray:
    """Return shares that do not yet sum to 1."""
    capped = np.minimum(counts, rule.cap) if rule.cap is not None else counts
    match rule.policy:
        case "proportional":
            return counts
        case "capped":
            return capped
        case "temperature":
            return capped ** (1.0 / rule.temperature)
        case "sqrt":
            return np.sqrt(counts)
        case "uniform":
            return np.ones_like(counts)
        case "unimax":
            return _unimax_shares(counts, rule, num_draws)
        case "explicit":
            return _explicit_shares(names, rule.weights or {})


def _unimax_shares(counts: FloatArray, rule: RateRule, num_draws: float | None) -> FloatArray:
    """Return draws per task: equal, but small tasks give what exceeds their passes to others."""
    if num_draws is None or rule.max_epochs is None:
        raise MixtureError(
            "MIX001",
            "policy 'unimax' needs the number of draws and max_epochs",
            where="mixture",
            hint="Set max_steps or num_train_epochs, and max_epochs",
        )
    shares = np.zeros_like(counts)
    left = float(num_draws)
    order = [int(i) for i in np.argsort(counts, kind="stable") if counts[i] > 0]
    for visited, task in enumerate(order):
        shares[task] = min(left / (len(order) - visited), rule.max_epochs * counts[task])
        left -= shares[task]
    return shares


def _explicit_shares(names: Sequence[str], weights: Mapping[str, float]) -> FloatArray:
    missing = [name for name in names if name not in weights]
    unknown = [name for name in weights if name not in names]
    if missing or unknown:
        problem = f"no weight for {missing[0]!r}" if missing else f"no task {unknown[0]!r}"
        raise MixtureError(
            "MIX001",
            f"{problem} in explicit weights",
            where="mixture.weights",
            hint="Give every task of the mixture one weight",
        )
    shares = np.array([weights[name] for name in names], dtype=np.float64)
    if not np.isfinite(shares).all() or (shares < 0).any():
        bad = next(n for n in names if not (np.isfinite(weights[n]) and weights[n] >= 0))
        raise MixtureError(
            "MIX001",
            f"the weight of {bad!r} is {weights[bad]}, allowed is a number of at least 0",
            where="mixture.weights",
        )
    return shares


def _check_rule(rule: RateRule, counts: FloatArray) -> None:
    bounds = {
        "temperature": rule.temperature,
        "cap": rule.cap,
        "max_epochs": rule.max_epochs,
    }
    for field, value in bounds.items():
        if value is not None and not value > 0:
            raise MixtureError(
                "MIX001", f"{value} given, allowed is a number above 0", where=f"mixture.{field}"
            )
    if (counts < 0).any():
        raise ValueError("task sizes must not be negative")


def _name(member: str | TaskGroup) -> str:
    return member if isinstance(member, str) else member.name


def _task_names(group: TaskGroup) -> list[str]:
    names: list[str] = []
    for member in group.members:
        names += [member] if isinstance(member, str) else _task_names(member)
    return names
