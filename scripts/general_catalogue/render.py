"""YAML text of an annotation."""

from __future__ import annotations

from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes lists indented below their key, and no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def yaml_text(annotation: dict[str, Any]) -> str:
    """Return the annotation as YAML, small collections on one line."""
    return yaml.dump(
        annotation,
        Dumper=_Dumper,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=96,
    )
