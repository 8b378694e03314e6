"""Writes the leaderboard's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.leaderboard.board import Leaderboard
from eval.leaderboard.curves import find_curves
from eval.leaderboard.details import build_details
from eval.leaderboard.differences import Differences
from eval.leaderboard.edges import find_edges
from eval.leaderboard.extras import build_extras
from eval.leaderboard.page import build_page
from eval.leaderboard.references import Reference
from eval.leaderboard.routing import find_routing
from eval.leaderboard.tables import leaderboard_csv
from pipeline.files import write_json, write_text

REPORT_NAME = "report.html"
JSON_NAME = "leaderboard.json"
CSV_NAME = "leaderboard.csv"


def write_leaderboard(
    board: Leaderboard,
    folder: Path,
    *,
    references: Sequence[Reference] = (),
    differences: Differences | None = None,
) -> Path:
    """Write `report.html`, `leaderboard.json` and `leaderboard.csv`.

    Args:
        board: What to show.
        folder: Where the files go; made if absent.
        references: Published numbers to show beside it.
        differences: All runs against one of them.

    Returns:
        The path of the page.

    Raises:
        EvalError: A run's samples are missing or damaged (EVL022, EVL023, EVL025).
        OutputError: The folder cannot be written.
    """
    extras = build_extras(board, references, differences)
    curves, routing = find_curves(board.runs), find_routing(board.runs)
    page = build_page(
        board, build_details(board), curves, extras, routing=routing, edges=find_edges(board.runs)
    )
    write_json(folder / JSON_NAME, board.to_json() | extras.to_json())
    write_text(folder / CSV_NAME, leaderboard_csv(board))
    write_text(folder / REPORT_NAME, page)
    return folder / REPORT_NAME
