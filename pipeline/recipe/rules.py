"""Rules between the fields of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.recipe.adapter_rules import find_adapter_contradictions
from pipeline.recipe.mixture_rules import find_mixture_contradictions
from pipeline.recipe.problems import CONTRADICTION
from pipeline.yaml_reader import Problem

if TYPE_CHECKING:
    from pipeline.recipe.schema import Recipe


def find_contradictions(recipe: Recipe) -> list[Problem]:
    """Return one problem for each pair of fields that cannot hold together."""
    problems = [*_find_double_choices(recipe), *_find_repeated_tasks(recipe)]
    problems += find_mixture_contradictions(recipe)
    problems += find_adapter_contradictions(recipe)
    problems += _find_evaluation_problems(recipe)
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


def _find_evaluation_problems(recipe: Recipe) -> list[Problem]:
    problems = []
    for name in ("early_stopping_patience", "load_best_model_at_end"):
        if getattr(recipe, name) and recipe.eval_strategy == "no":
            message = "got a value, but nothing is evaluated during training"
            problems.append(_problem(name, message, "Set `eval_strategy: steps`"))
    if not recipe.load_best_model_at_end or recipe.eval_strategy == "no":
        return problems
    in_step = recipe.save_strategy == recipe.eval_strategy and (
        recipe.eval_strategy != "steps" or recipe.save_steps % recipe.eval_steps == 0
    )
    if not in_step:
        message = "got true, but checkpoints are not saved at evaluations"
        hint = "Save with the same strategy, at every evaluation or every few"
        problems.append(_problem("load_best_model_at_end", message, hint))
    return problems


def _problem(name: str, message: str, hint: str | None = None) -> Problem:
    return Problem((name,), CONTRADICTION, message, hint)


def _find_double_choices(recipe: Recipe) -> list[Problem]:
    problems = []
    if recipe.load_in_4bit and recipe.load_in_8bit:
        problems.append(_both("load_in_8bit", "load_in_4bit"))
    if recipe.bf16 and recipe.fp16:
        problems.append(_both("fp16", "bf16"))
    if not recipe.load_in_4bit:
        for name, default in (("bnb_4bit_quant_type", "nf4"), ("use_bnb_nested_quant", False)):
            if getattr(recipe, name) != default:
                message = f"got {getattr(recipe, name)!r}, which only weights in 4 bits follow"
                problems.append(_problem(name, message, "Set `load_in_4bit: true`"))
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
