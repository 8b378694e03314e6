"""Which recipe a checkpoint belongs to, as far as it decides what is learned."""

from __future__ import annotations

from typing import cast

from pipeline.errors import CheckpointError
from pipeline.files import sha256_of_json
from pipeline.recipe import Recipe
from pipeline.types import Json

MAY_CHANGE = frozenset(
    {
        "resume_from_checkpoint",
        "overwrite_output_dir",
        "logging_steps",
        "report_to",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "evaluation",
        "dataloader_num_workers",
        "dataset_num_proc",
    }
)
"""Fields that do not change what is learned."""

_MAY_CHANGE_ON_RESUME = MAY_CHANGE | {
    "run_name",
    "output_dir",
    "per_device_eval_batch_size",
    # Their product with the number of processes is compared instead.
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    # The same gradients, with less memory.
    "gradient_checkpointing",
    # Places; what is found there has a fingerprint of its own.
    "data_root",
    "annotations",
}


class RecipeRecord:
    """The recipe as a part of each checkpoint: a run does not go on with another one."""

    def __init__(self, recipe: Recipe, *, global_batch_size: int) -> None:
        """Describe a run.

        Args:
            recipe: What is trained.
            global_batch_size: Rows of one step over all processes and accumulated batches.
        """
        fields = recipe.model_dump(mode="json", exclude=set(_MAY_CHANGE_ON_RESUME))
        self._facts: dict[str, Json] = {**fields, "global batch size": global_batch_size}

    def state(self, num_completed_steps: int, /) -> dict[str, Json]:
        """Return the fields that decide what is learned, and their fingerprint."""
        return {"fingerprint": sha256_of_json(self._facts), "facts": self._facts}

    def load_state(self, state: dict[str, Json], /) -> None:
        """Compare with the recipe of a checkpoint.

        Raises:
            CheckpointError: They differ.
        """
        earlier, mine = str(state["fingerprint"]), sha256_of_json(self._facts)
        if earlier == mine:
            return
        facts = cast("dict[str, Json]", state["facts"])
        names = sorted(
            name for name in {*facts, *self._facts} if facts.get(name) != self._facts.get(name)
        )
        raise CheckpointError(
            "CKP004",
            f"the checkpoint was made with the recipe {earlier[:12]}, this run has {mine[:12]}; "
            f"differs in: {', '.join(names)}",
            where="recipe",
            hint="Restore these fields, or start a new run under another run_name",
        )


def changed_fields(recipe: Recipe, earlier: Recipe, *, resumes: bool) -> list[str]:
    """Return the fields in which two recipes differ that may not.

    Args:
        recipe: The recipe at hand.
        earlier: The one a run folder was started with.
        resumes: Whether a checkpoint is gone on from; what decides then is left to `RecipeRecord`.
    """
    allowed = _MAY_CHANGE_ON_RESUME if resumes else MAY_CHANGE
    return [
        name
        for name in type(recipe).model_fields
        if name not in allowed and getattr(recipe, name) != getattr(earlier, name)
    ]
