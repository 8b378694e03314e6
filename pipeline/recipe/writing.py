"""Writes a recipe so that it loads back as the same recipe."""

from __future__ import annotations

import math
import re
from pathlib import Path

import yaml

from pipeline.files import write_text
from pipeline.recipe.schema import Recipe

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS_WITH_MEANING = ("true", "false", "null")


class _Dumper(yaml.SafeDumper):
    """Quotes every text that the project's reader could take for something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS_WITH_MEANING
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, None if is_plain else '"')


_Dumper.add_representer(str, _represent_text)


def write_resolved(recipe: Recipe, path: Path) -> None:
    """Write every field of `recipe`, defaults included, as YAML.

    Raises:
        OutputError: The file cannot be written.
    """
    value = recipe.model_dump(mode="json")
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf, indent=2
    )
    write_text(path, text)
