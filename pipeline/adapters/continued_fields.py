"""What a recipe says of an adapter that it goes on with, against what the adapter's folder holds.

The folder decides. A field that says otherwise is refused, and one that is not set gets the value
of the folder, so that the recipe of a run tells what was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapter_folder import read_adapter_config
from pipeline.errors import AdapterError

if TYPE_CHECKING:
    from pipeline.recipe.schema import AdapterSettings, Recipe

_IN_FOLDER = {
    "rank": "r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "modules_to_save": "modules_to_save",
    "preset": "preset",
    "task_rank": "task_rank",
    "normalise_ranks": "normalise_ranks",
    "feature_gate": "feature_gate",
}
"""Fields of an adapter, and their names in its folder; target modules need the model."""
_IN_RECIPE = {
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "lora_target_modules": "target_modules",
    "lora_modules_to_save": "modules_to_save",
    "use_rslora": "use_rslora",
    "use_dora": "use_dora",
}
_OF_TASKS = ("task_rank", "normalise_ranks")
_LISTS = ("target_modules", "modules_to_save")


def with_folder_fields(recipe: Recipe) -> Recipe:
    """Return a recipe whose unset adapter fields are those of the adapter it goes on with.

    Args:
        recipe: Any; one that starts afresh stays as it is.

    Raises:
        AdapterError: The folder is no adapter (ADP003, ADP005).
    """
    folder = recipe.adapter.start_from or recipe.adapter.extend
    if folder is None:
        return recipe
    config = read_adapter_config(Path(folder))
    found = {
        field: _plain(name, config[name])
        for field, name in _IN_RECIPE.items()
        if name in config and field not in recipe.model_fields_set
    }
    if recipe.adapter.r is None and "lora_r" not in recipe.model_fields_set:
        found["lora_r"] = config.get("r", recipe.lora_r)
    if recipe.adapter.extend is not None:
        own = {
            name: config.get(name)
            for name in _OF_TASKS
            if getattr(recipe.adapter, name) is None and name in config
        }
        found["adapter"] = recipe.adapter.model_copy(update=own)
    return recipe.model_copy(update=found)


def check_given_settings(config: Mapping[str, Any], adapter: AdapterSettings, folder: Path) -> None:
    """Check that what is said of an adapter is what its folder holds.

    Args:
        config: Of the folder, or of what is made of it.
        adapter: Fields that are unset say nothing.
        folder: For the message.

    Raises:
        AdapterError: It is not (ADP026).
    """
    for field, name in _IN_FOLDER.items():
        value = getattr(adapter, field)
        # Options of the type are all `None` where the recipe leaves them out.
        says_nothing = value is None and field != "modules_to_save"
        if field not in adapter.model_fields_set or says_nothing:
            continue
        check_same({name: _plain(name, config.get(name))}, {name: _plain(name, value)}, folder)


def check_same(config: Mapping[str, Any], wanted: Mapping[str, object], folder: Path) -> None:
    """Check values of a folder's configuration; those it does not have may be any.

    Raises:
        AdapterError: One differs (ADP026).
    """
    for name, value in wanted.items():
        found = config.get(name, value)
        if found != value:
            raise AdapterError(
                "ADP026",
                f"the adapter has {name} {found!r}, this run needs {value!r}",
                where=folder,
                hint="Change the recipe, or name another adapter",
            )


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return lists of modules in one order, as recipes hold them."""
    return (
        tuple(sorted(value)) if name in _LISTS and isinstance(value, list | tuple | set) else value
    )
