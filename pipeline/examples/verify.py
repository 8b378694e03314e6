"""Writing into an annotation's file that it was run on real rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, cast

from pipeline.annotations.schema import load_annotation
from pipeline.errors import AnnotationError, PipelineError
from pipeline.files import open_atomic, output_errors
from pipeline.yaml_reader import read_yaml

_VERIFIED_LINE = re.compile(
    rb"^verified:[ \t]*[\"']?(?:unverified|golden)[\"']?(?=[ \t]*(?:#[^\r\n]*)?\r?$)",
    re.MULTILINE,
)


def mark_verified(path: Path) -> bool:
    """Write `verified: rows` into an annotation's file; nothing else in the file changes.

    Returns:
        Whether the file changed; it does not when it says so already.

    Raises:
        AnnotationError: The file writes `verified` in a form that cannot be changed safely.
        OutputError: The file cannot be written.
    """
    before = load_annotation(path)
    if before.verified == "rows":
        return False
    with output_errors(path):
        text = path.read_bytes()
        mode = path.stat().st_mode
    changed = _VERIFIED_LINE.sub(b"verified: rows", text)
    if changed == text:
        newline = b"\r\n" if b"\r\n" in text else b"\n"
        changed += (b"" if text.endswith(b"\n") else newline) + b"verified: rows" + newline
    if not _differs_in_that_only(text, changed, path):
        raise AnnotationError(
            "ANN180",
            "the line with `verified` cannot be changed safely",
            where=before.mark(("verified",)),
            hint="Write `verified: rows` yourself, on a line of its own",
        )
    with open_atomic(path, binary=True) as stream:
        cast("IO[bytes]", stream).write(changed)
    with output_errors(path):
        path.chmod(mode & 0o777)
    return True


def _differs_in_that_only(text: bytes, changed: bytes, path: Path) -> bool:
    try:
        old, new = (read_yaml(data, name=str(path)).value for data in (text, changed))
    except PipelineError:
        return False
    return isinstance(old, dict) and new == {**old, "verified": "rows"}
