"""Rules between the fields of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.yaml_reader import Problem

if TYPE_CHECKING:
    from pipeline.recipe.schema import Recipe

CONTRADICTION = "REC006"


def find_contradictions(recipe: Recipe) -> list[Problem]:
    """Return one problem for each pair of fields that cannot hold together."""
    problems = [*_find_double_choices(recipe), *_find_repeated_tasks(recipe)]
    problems += _find_weight_problems(recipe)
    if recipe.max_steps < 1 and recipe.max_steps != -1:
        allowed = "allowed a positive number, or -1 for whole epochs"
        problems.append(_problem("max_steps", f"got {recipe.max_steps}, {allowed}"))
    if not recipe.tasks:
        problems.append(_problem("tasks", "got an empty list", "Name at least one task"))
    if not recipe.lora_target_modules:
        problems.append(_problem("lora_target_modules", "got an empty list", "Name at least one"))
    if recipe.run_name is not None and "/" in recipe.run_name:
        message = f"got {recipe.run_name!r}, allowed a name without '/'"
        problems.append(_problem("run_name", message, "Put the folder into `output_dir`"))
    return problems


def _problem(name: str, message: str, hint: str | None = None) -> Problem:
    return Problem((name,), CONTRADICTION, message, hint)


def _find_double_choices(recipe: Recipe) -> list[Problem]:
    problems = []
    if recipe.load_in_4bit and recipe.load_in_8bit:
        problems.append(_both("load_in_8bit", "load_in_4bit"))
    if recipe.bf16 and recipe.fp16:
        problems.append(_both("fp16", "bf16"))
    return problems


def _find_weight_problems(recipe: Recipe) -> list[Problem]:
    """Weights would be ignored by every policy but `explicit`, which cannot do without."""
    is_explicit = recipe.mixture.policy == "explicit"
    problems = []
    for position, entry in enumerate(recipe.tasks):
        if is_explicit == (entry.weight is not None):
            continue
        if is_explicit:
            message = f"policy 'explicit' needs a weight for {entry.task!r}"
            hint = "Write {task: ..., weight: ...}"
        else:
            message = f"policy {recipe.mixture.policy!r} takes no weights"
            hint = "Set `mixture: {policy: explicit}`"
        problems.append(Problem(("tasks", position), CONTRADICTION, message, hint))
    return problems


def _both(name: str, other: str) -> Problem:
    return _problem(name, f"got true together with {other}: true, allowed one of them")


def _find_repeated_tasks(recipe: Recipe) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for position, entry in enumerate(recipe.tasks):
        if entry.task in seen:
            problems.append(
                Problem(
                    ("tasks", position),
                    CONTRADICTION,
                    f"task {entry.task!r} stands twice",
                    "Raise its `weight` instead",
                )
            )
        seen.add(entry.task)
    return problems
