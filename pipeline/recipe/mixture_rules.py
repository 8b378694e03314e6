"""Rules between the fields of a recipe's mixture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.recipe.problems import CONTRADICTION
from pipeline.yaml_reader import Problem

if TYPE_CHECKING:
    from pipeline.recipe.schema import GroupEntry, RateFields, Recipe

_Path = tuple[str | int, ...]

_READ_BY = {"temperature": ("temperature",), "cap": ("capped", "temperature")}
"""Policies that read an option."""
_BATCHES_AHEAD = 2
"""Batches that each loader worker fetches ahead (torch's `prefetch_factor`)."""


def find_mixture_contradictions(recipe: Recipe) -> list[Problem]:
    """Return one problem for each wrong name, weight or reference of the mixture."""
    mixture = recipe.mixture
    names = {entry.task for entry in recipe.tasks}
    policies: dict[str, str] = dict.fromkeys(names, mixture.policy)
    problems = _find_group_problems(mixture.groups, names, policies)
    problems += _find_policy_problems(recipe)
    problems += _find_weight_problems(recipe, policies)
    problems += _find_group_weight_problems(mixture.groups, mixture.policy, ("mixture", "groups"))
    return problems + _find_dynamic_problems(recipe, names)


def _find_group_problems(
    groups: Sequence[GroupEntry], names: set[str], policies: dict[str, str]
) -> list[Problem]:
    """Return wrong names in groups; note in `policies` the policy that each task stands under."""
    problems: list[Problem] = []
    seen: set[str] = set()

    def add(path: _Path, message: str, hint: str) -> None:
        problems.append(Problem(path, CONTRADICTION, message, hint))

    def visit(groups: Sequence[GroupEntry], path: _Path) -> None:
        for number, group in enumerate(groups):
            place = (*path, number)
            if group.name in names | seen:
                add((*place, "name"), f"{group.name!r} stands twice", "Choose another name")
            if not group.tasks and not group.groups:
                add(place, f"group {group.name!r} is empty", "Name its `tasks` or `groups`")
            seen.add(group.name)
            for position, task in enumerate(group.tasks):
                where = (*place, "tasks", position)
                if task not in names:
                    add(where, f"{task!r} is no task of this recipe", "Add it to `tasks`")
                elif task in seen:
                    add(where, f"{task!r} stands in two groups", "Name it once")
                seen.add(task)
                policies[task] = group.policy
            visit(group.groups, (*place, "groups"))

    visit(groups, ("mixture", "groups"))
    return problems


def _find_policy_problems(recipe: Recipe) -> list[Problem]:
    """Return one problem for each option that a policy does not read, or cannot do without."""
    mixture = recipe.mixture
    problems: list[Problem] = []

    def check(fields: RateFields, path: _Path) -> None:
        def add(name: str, message: str, hint: str) -> None:
            problems.append(Problem((*path, name), CONTRADICTION, message, hint))

        policy, defaults = fields.policy, type(fields).model_fields
        for name, readers in _READ_BY.items():
            value = getattr(fields, name)
            if policy not in readers and value not in (None, defaults[name].default):
                readable = " and ".join(map(repr, readers))
                add(name, f"policy {policy!r} does not read it", f"Only {readable} do; take it out")
        if policy == "capped" and fields.cap is None:
            add("cap", "policy 'capped' needs one", "Set it, or choose `proportional`")
        if policy == "unimax" and mixture.max_epochs_per_task is None:
            add(
                "policy",
                "'unimax' needs `mixture.max_epochs_per_task`, which is null",
                "Set it, or choose `uniform`",
            )

    def visit(groups: Sequence[GroupEntry], path: _Path) -> None:
        for number, group in enumerate(groups):
            check(group, (*path, number))
            visit(group.groups, (*path, number, "groups"))

    check(mixture, ("mixture",))
    visit(mixture.groups, ("mixture", "groups"))
    return problems


def _find_weight_problems(recipe: Recipe, policies: dict[str, str]) -> list[Problem]:
    """Weights would be ignored by every policy but `explicit`, which cannot do without."""
    problems = []
    for position, entry in enumerate(recipe.tasks):
        is_given = entry.weight is not None
        found = _weight_problem(entry.task, policies[entry.task], is_given=is_given)
        if found is not None:
            problems.append(Problem(("tasks", position), CONTRADICTION, *found))
    return problems


def _find_group_weight_problems(
    groups: Sequence[GroupEntry], policy: str, path: _Path
) -> list[Problem]:
    problems = []
    for number, group in enumerate(groups):
        place = (*path, number)
        found = _weight_problem(group.name, policy, is_given=group.weight is not None)
        if found is not None:
            problems.append(Problem(place, CONTRADICTION, *found))
        problems += _find_group_weight_problems(group.groups, group.policy, (*place, "groups"))
    return problems


def _weight_problem(name: str, policy: str, *, is_given: bool) -> tuple[str, str] | None:
    """Return message and hint where a member has a weight too few or too many."""
    if is_given == (policy == "explicit"):
        return None
    if policy == "explicit":
        return f"policy 'explicit' needs a weight for {name!r}", "Write {task: ..., weight: ...}"
    return f"policy {policy!r} takes no weights", "Set `mixture: {policy: explicit}`"


def _find_dynamic_problems(recipe: Recipe, names: set[str]) -> list[Problem]:
    dynamic = recipe.mixture.dynamic
    if dynamic is None:
        return []
    given = set(dynamic.reference_losses)
    problems = [(f"no reference for {name!r}", "Give every task one") for name in names - given]
    problems += [(f"{name!r} is no task of this recipe", "Take it out") for name in given - names]
    path = ("mixture", "dynamic")
    found = [
        Problem((*path, "reference_losses"), CONTRADICTION, *problem)
        for problem in sorted(problems)
    ]
    ahead = _BATCHES_AHEAD * recipe.dataloader_num_workers
    most = dynamic.update_steps * recipe.gradient_accumulation_steps
    if ahead > most:
        message = f"{ahead} batches are fetched ahead, but rates change after {most}"
        hint = "Raise update_steps, or lower dataloader_num_workers"
        found.append(Problem((*path, "update_steps"), CONTRADICTION, message, hint))
    return found
