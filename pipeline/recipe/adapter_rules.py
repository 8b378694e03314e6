"""Rules between the fields of an adapter: no option is ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.recipe.problems import CONTRADICTION
from pipeline.yaml_reader import Problem

if TYPE_CHECKING:
    from pipeline.recipe.schema import AdapterChoice, Recipe

_ROUTED = frozenset(
    {
        "preset",
        "router",
        "score",
        "router_task_input",
        "router_low_rank",
        "share_router",
        "normalise_ranks",
        "feature_gate",
    }
)
_SELECTING = _ROUTED | {
    "num_active_ranks",
    "num_shared_ranks",
    "balance_rate",
    "task_groups",
    "ranks_per_group",
}
OPTIONS: dict[str, frozenset[str]] = {
    "lora": frozenset({"init", "start_from"}),
    "smora": _SELECTING,
    "moe_lora": _SELECTING | {"block_size"},
    "hydra": (_ROUTED - {"preset"}) | {"num_b_factors"},
    "mtlora": frozenset({"preset", "task_rank", "normalise_ranks", "feature_gate", "extend"}),
    "mtl_lora": frozenset({"num_b_factors", "task_mixing", "normalise_ranks", "feature_gate"}),
}
"""Options of each type, beside `type` and `r`."""

_OF_A_ROUTER = (
    "preset",
    "score",
    "num_active_ranks",
    "num_shared_ranks",
    "task_groups",
    "ranks_per_group",
)
"""Options that say how a learned router chooses."""
_DEFAULT_BLOCK_SIZE = {"smora": 1, "moe_lora": 8}
_DEFAULT_ACTIVE_RANKS = {"smora": 8, "moe_lora": 16}


def effective_fields(recipe: Recipe) -> dict[str, float]:
    """Return the fields beside `adapter` that follow from it, where the recipe does not set them.

    They are its rank, and what its preset says.
    """
    adapter = recipe.adapter
    values: dict[str, float] = {} if adapter.r is None else {"lora_r": adapter.r}
    if adapter.type == "mtlora" and adapter.preset == "paper" and adapter.extend is None:
        values |= {"lora_alpha": 4.0 * (adapter.r or recipe.lora_r), "lora_dropout": 0.05}
    return {name: v for name, v in values.items() if name not in recipe.model_fields_set}


def find_adapter_contradictions(recipe: Recipe) -> list[Problem]:
    """Return one problem for each option that the adapter's type cannot follow."""
    adapter = recipe.adapter
    problems = [*_find_foreign_options(adapter), *_find_group_problems(recipe)]
    problems += _find_idle_options(adapter, adapter.r or recipe.lora_r)
    if adapter.r is not None and "lora_r" in recipe.model_fields_set and adapter.r != recipe.lora_r:
        message = f"got {adapter.r} together with lora_r: {recipe.lora_r}, allowed one of them"
        problems.append(_problem(("adapter", "r"), message))
    if adapter.type != "lora":
        for name in ("use_dora", "use_rslora"):
            if getattr(recipe, name):
                message = f"got true together with adapter type {adapter.type!r}, allowed 'lora'"
                problems.append(_problem((name,), message))
    if adapter.init == "pissa" and (recipe.load_in_4bit or recipe.load_in_8bit):
        message = "'pissa' changes the base weights, which quantised ones do not allow"
        problems.append(_problem(("adapter", "init"), message, "Take `init` or `load_in_*` out"))
    problems += _find_continuing_problems(recipe)
    if adapter.type in _DEFAULT_BLOCK_SIZE and not problems:
        problems += _find_rank_problems(adapter, adapter.r or recipe.lora_r)
    return problems


def _find_foreign_options(adapter: AdapterChoice) -> list[Problem]:
    allowed = OPTIONS[adapter.type]
    given = [
        name
        for name in type(adapter).model_fields
        if name not in ("type", "r") and getattr(adapter, name) is not None
    ]
    return [
        _problem(
            ("adapter", name),
            f"adapter type {adapter.type!r} has no such option",
            f"Its options: {', '.join(sorted(allowed))}",
        )
        for name in given
        if name not in allowed
    ]


def _find_idle_options(adapter: AdapterChoice, rank: int) -> list[Problem]:
    """Return one problem for each option that acts only under a condition that does not hold."""
    router = adapter.router or "token"
    is_routed = router != "uniform" and adapter.num_b_factors != 1
    active = adapter.num_active_ranks or _DEFAULT_ACTIVE_RANKS.get(adapter.type, rank)
    conditions = {
        **dict.fromkeys(_OF_A_ROUTER, (is_routed, "a learned router over several experts")),
        "router_low_rank": (router == "token", "`router: token`"),
        "router_task_input": (router == "token", "`router: token`"),
        "share_router": (
            router == "token" and not adapter.router_low_rank,
            "`router: token` without `router_low_rank`, which reads no state that layers share",
        ),
        "balance_rate": (
            is_routed and active < rank - (adapter.num_shared_ranks or 0),
            "a router that selects fewer ranks than there are",
        ),
    }
    if not is_routed and adapter.num_b_factors == 1:
        conditions["router"] = (False, "several B factors")
    problems = [
        _problem(("adapter", name), f"has no effect here: it needs {needed}", "Take it out")
        for name, (acts, needed) in conditions.items()
        if name in OPTIONS[adapter.type] and not acts and _is_given(adapter, name)
    ]
    if adapter.type == "smora" and adapter.preset == "paper" and adapter.score == "softmax":
        message = "'softmax' contradicts `preset: paper`, whose gates are biased sigmoids"
        problems.append(_problem(("adapter", "score"), message, "Take one of the two out"))
    return problems


def _is_given(adapter: AdapterChoice, name: str) -> bool:
    return getattr(adapter, name) not in (None, False, 0, "default")


def _find_continuing_problems(recipe: Recipe) -> list[Problem]:
    problems = []
    if recipe.adapter.start_from is not None and recipe.adapter.init is not None:
        message = "an adapter that goes on from another has its weights already"
        problems.append(_problem(("adapter", "init"), message, "Take one of the two out"))
    if recipe.adapter.extend is not None and recipe.weight_decay > 0:
        message = "decay would move the weights that `adapter.extend` keeps as they are"
        problems.append(_problem(("weight_decay",), message, "Set it to 0"))
    if recipe.adapter.start_from is not None or recipe.adapter.extend is not None:
        message = "tokens of these tasks are not those that the earlier adapter was trained with"
        problems += [
            _problem((name,), message, "Leave it out, in both runs")
            for name in added_tokens(recipe)
        ]
    return problems


def added_tokens(recipe: Recipe) -> list[str]:
    """Return the fields that add tokens which depend on the tasks of the recipe."""
    names = [name for name in ("task_tokens", "label_tokens") if getattr(recipe, name)]
    return [*names, *(["dna_unit"] if recipe.dna_unit == "bpe" else [])]


def _find_group_problems(recipe: Recipe) -> list[Problem]:
    groups, ranks = recipe.adapter.task_groups, recipe.adapter.ranks_per_group
    if (groups is None) != (ranks is None):
        missing = "ranks_per_group" if ranks is None else "task_groups"
        return [_problem(("adapter",), f"`task_groups` needs `{missing}` beside it")]
    known = {entry.task for entry in recipe.tasks}
    grouped = [task for group in groups or () for task in group]
    problems = [
        _problem(("adapter", "task_groups"), f"no task of this recipe is named {task!r}")
        for task in grouped
        if task not in known
    ]
    repeated = sorted({task for task in grouped if grouped.count(task) > 1})
    return problems + [
        _problem(("adapter", "task_groups"), f"task {task!r} stands in two groups")
        for task in repeated
    ]


def _find_rank_problems(adapter: AdapterChoice, rank: int) -> list[Problem]:
    block = adapter.block_size or _DEFAULT_BLOCK_SIZE[adapter.type]
    active = adapter.num_active_ranks or _DEFAULT_ACTIVE_RANKS[adapter.type]
    routed = rank - (adapter.num_shared_ranks or 0)
    open_to_all = routed - len(adapter.task_groups or ()) * (adapter.ranks_per_group or 0)
    if adapter.router == "uniform":
        return []
    if routed < 1 or routed % block:
        message = f"{routed} routed ranks cannot be cut into experts of {block}"
        return [_problem(("adapter",), message, "Choose another `r`")]
    if (adapter.ranks_per_group or 0) % block:
        message = f"got {adapter.ranks_per_group}, allowed multiples of {block}"
        return [_problem(("adapter", "ranks_per_group"), message)]
    if active % block or active > open_to_all:
        message = f"got {active}, allowed multiples of {block} up to {open_to_all}"
        hint = "Raise `r`, or lower `num_active_ranks`"
        return [_problem(("adapter", "num_active_ranks"), message, hint)]
    return []


def _problem(place: tuple[str, ...], message: str, hint: str | None = None) -> Problem:
    return Problem(place, CONTRADICTION, message, hint)
