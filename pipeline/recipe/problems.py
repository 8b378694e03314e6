"""The code shared by all rules between fields of a recipe."""

from __future__ import annotations

CONTRADICTION = "REC006"
