"""What to train, on what and how: one YAML file per run, with the names TRL and PEFT use."""

from pipeline.recipe.reading import load_recipe
from pipeline.recipe.schema import (
    AdapterSettings,
    EvaluationSettings,
    MixtureSettings,
    Recipe,
    TaskEntry,
)
from pipeline.recipe.writing import write_resolved

__all__ = [
    "AdapterSettings",
    "EvaluationSettings",
    "MixtureSettings",
    "Recipe",
    "TaskEntry",
    "load_recipe",
    "write_resolved",
]
