"""Dataset cards: the README.md whose header tells `datasets` configs, splits and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Feature = str | tuple[str, ...] | Mapping[str, str]
"""A dtype; class names; or the string lists inside a nested column, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigCard:
    """One config of a dataset: where its files are, and what its columns hold."""

    name: str
    files: Mapping[str, str]
    """Split -> path inside the dataset's folder."""
    features: Mapping[str, Feature | list[Feature]]
    """Column -> feature; a list of one feature is a sequence of it."""


def render_card(dataset: str, configs: Sequence[ConfigCard], note: str) -> str:
    """Return the text of a README.md for `dataset` (`owner/name`)."""
    lines = ["---", "license: cc0-1.0", "configs:"]
    for config in configs:
        lines += [f"- config_name: {config.name}", "  data_files:"]
        for split, path in config.files.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    if any(config.features for config in configs):
        lines.append("dataset_info:")
    for config in configs:
        if config.features:
            lines += [f"- config_name: {config.name}", "  features:"]
        for column, feature in config.features.items():
            lines += _feature_lines(column, feature)
    lines += ["---", "", f"# {dataset}", ""]
    lines += ["Generated rows in the columns of the public dataset of this name. " + note, ""]
    return "\n".join(lines)


def _feature_lines(column: str, feature: Feature | list[Feature]) -> list[str]:
    first = f"  - name: {column}"
    if isinstance(feature, Mapping):
        lines = [first, "    sequence:"]
        for name, dtype in feature.items():
            lines += [f"    - name: {name}", f"      dtype: {dtype}"]
        return lines
    key, item = ("sequence", feature[0]) if isinstance(feature, list) else ("dtype", feature)
    if isinstance(item, str):
        return [first, f"    {key}: {item}"]
    names = [f"          '{index}': '{name}'" for index, name in enumerate(item)]
    return [first, f"    {key}:", "      class_label:", "        names:", *names]
