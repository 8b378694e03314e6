"""Makes a merge again from its `merge.json`, without the rows it was fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pipeline.adapters.merging.factors import Expert
from pipeline.adapters.merging.merge import Fitted
from pipeline.errors import AdapterError
from pipeline.files import read_json
from pipeline.recipe.merging import MergeRecipe, read_merge_recipe
from pipeline.recipe.overrides import parse_overrides
from pipeline.types import Json
from pipeline.yaml_reader import YamlDocument

_PLACES = frozenset(
    {
        ("output_dir",),
        ("rank",),
        ("adapters",),
        ("fit", "model_name_or_path"),
        ("fit", "data_root"),
    }
)
"""Fields that may differ: where things are, and what is cut off the result. The weights of adapters
are compared with the record, the base with the adapters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRecord:
    """What `merge.json` says of a merge."""

    path: Path
    recipe: MergeRecipe
    weights_sha256: Mapping[str, str]
    """Of the adapters, by name."""
    coefficients: Mapping[str, Json] | None
    """By adapter: one number, or numbers by module; `None` where factors were fitted."""
    fit: Json

    @classmethod
    def load(cls, path: Path, overrides: Sequence[str] = ()) -> MergeRecord:
        """Read a record; overrides are `--field value` on top of its recipe.

        Raises:
            AdapterError: The file is no record of a merge, or an override would make another merge
                than the one recorded (ADP025).
            RecipeError: An override is wrong.
        """
        try:
            value = cast("dict[str, Json]", read_json(path))
            sources = cast("list[dict[str, str]]", value["sources"])
            hashes = {source["name"]: source["weights_sha256"] for source in sources}
            recipe, coefficients, fit = value["recipe"], value["coefficients"], value["fit"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AdapterError(
                "ADP025",
                "cannot be read as the record of a merge",
                where=path,
                hint="Give the merge.json of a merged adapter, or a recipe",
            ) from error
        _check_overrides(overrides)
        return cls(
            path=path,
            recipe=read_merge_recipe(YamlDocument(str(path), recipe, {}, {}), overrides),
            weights_sha256=hashes,
            coefficients=cast("dict[str, Json] | None", coefficients),
            fit=fit,
        )

    def fitted(self, experts: Sequence[Expert]) -> Fitted | None:
        """Return what was fitted; `None` where that has to be done again.

        Raises:
            AdapterError: An adapter has other weights than then (ADP025).
        """
        import torch

        for expert in experts:
            if self.weights_sha256.get(expert.name) != expert.weights_sha256:
                raise AdapterError(
                    "ADP025",
                    f"{expert.name!r} has other weights than when {self.path} was written",
                    where=expert.folder,
                    hint="Restore the adapter, or merge anew from a recipe",
                )
        if self.coefficients is None or self.recipe.fit is None:
            return None
        found = {}
        for expert in experts:
            values = self.coefficients[expert.name]
            by_module = (
                values if isinstance(values, dict) else dict.fromkeys(expert.modules, values)
            )
            found[expert.name] = {
                module: torch.tensor(value) if isinstance(value, list) else cast("float", value)
                for module, value in by_module.items()
            }
        return Fitted(coefficients=found, record=self.fit)


def _check_overrides(overrides: Sequence[str]) -> None:
    other = next((each for each in parse_overrides(overrides) if each.path not in _PLACES), None)
    if other is not None:
        allowed = ", ".join("--" + ".".join(path) for path in sorted(_PLACES))
        raise AdapterError(
            "ADP025",
            f"this would be another merge than the recorded one, allowed are {allowed}",
            where=other.option,
            hint="Merge anew from a recipe",
        )
