"""Where local mirrors of datasets are."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipeline.errors import SourceError

VARIABLE = "TASKLOOM_DATA_ROOT"
EMBEDDED = "embedded"
"""Name of the mirror of generated rows that is built into the package."""

_DATASET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


def resolve_data_root(value: str | Path | None) -> Path | None:
    """Return the folder of the local mirror, or `None` where there is none.

    Args:
        value: A folder, `embedded`, or `None` for what `TASKLOOM_DATA_ROOT` says.

    Raises:
        SourceError: The folder does not exist.
    """
    chosen = value if value is not None else os.environ.get(VARIABLE) or None
    if chosen is None:
        return None
    if str(chosen) == EMBEDDED:
        from pipeline.sources.generated import ensure_generated_mirror

        return ensure_generated_mirror()
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        source = "the data root" if value is not None else VARIABLE
        raise SourceError(
            "SRC101",
            f"{source} is no folder",
            where=str(folder),
            hint="Give the folder that holds owner/name/..., or `embedded` for generated rows",
        )
    return folder


def dataset_folder(data_root: Path | None, dataset: str) -> Path | None:
    """Return the folder of `owner/name` in a mirror, if the mirror has it.

    Raises:
        SourceError: `dataset` is no dataset id.
    """
    if not _DATASET_ID.fullmatch(dataset) or ".." in dataset:
        raise SourceError(
            "SRC113",
            f"{dataset!r} is no dataset id",
            hint="Ids look like owner/name, of letters, digits, `.`, `_` and `-`",
        )
    folder = data_root / dataset if data_root is not None else None
    return folder if folder is not None and folder.is_dir() else None
