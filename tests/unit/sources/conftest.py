import json

import pytest


@pytest.fixture
def write_lines():
    """Write rows as JSON Lines; returns the path."""

    def write(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
