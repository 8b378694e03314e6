"""The leaderboard: results of runs as a table, as JSON and CSV, and as one page of HTML."""

from eval.leaderboard.board import Leaderboard, build_leaderboard
from eval.leaderboard.report import write_leaderboard
from eval.leaderboard.tables import leaderboard_csv, leaderboard_table

__all__ = [
    "Leaderboard",
    "build_leaderboard",
    "leaderboard_csv",
    "leaderboard_table",
    "write_leaderboard",
]
