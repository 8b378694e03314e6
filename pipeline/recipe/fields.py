"""What all maps that a person writes have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictFields(BaseModel):
    """Unknown names are errors, types are as in YAML, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
