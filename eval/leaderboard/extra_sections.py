"""The tables beside the leaderboard, as sections of the page."""

from __future__ import annotations

from collections.abc import Sequence

from eval.bfcl.aggregate import SECTION_WEIGHTS
from eval.leaderboard.board import Leaderboard
from eval.leaderboard.differences import Differences, difference_text
from eval.leaderboard.extras import Extras
from eval.leaderboard.markup import Html, element
from eval.leaderboard.summary import PARTS, MeanOverTasks
from eval.leaderboard.text import number

_PART_NAMES = {"seen": "Trained on", "related": "Same data set", "held_out": "Held out"}
_Rows = Sequence[Sequence[str]]


def extra_sections(board: Leaderboard, extras: Extras) -> list[Html]:
    """Return the sections that have something to tell."""
    sections = []
    if extras.differences is not None:
        sections.append(_difference_section(board, extras.differences))
    if extras.summaries and len(board.columns) > 1:
        sections.append(_summary_section(extras))
    if extras.benchmark:
        sections.append(_benchmark_section(extras))
    if extras.general:
        sections.append(_general_section(extras))
    if extras.references:
        sections.append(_reference_section(board, extras))
    if extras.leaks:
        sections.append(_leakage_section(extras))
    return sections


def _section(title: str, words: str, head: Sequence[str], rows: _Rows, *, name: str) -> Html:
    """Return a section with one table, whose first column names the rows."""
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell) for cell in row[1:]),
        )
        for row in rows
    ]
    return element(
        "section",
        element(
            "div", element("h2", title), element("p", words, class_="quiet"), class_="section-head"
        ),
        element(
            "div",
            element(
                "table",
                element(
                    "thead", element("tr", *(element("th", cell, scope="col") for cell in head))
                ),
                element("tbody", *body),
                class_="method number wide",
            ),
            class_="sheet",
        ),
        id=name,
    )


def _difference_section(board: Leaderboard, differences: Differences) -> Html:
    columns = [*board.columns, None]
    rows = []
    for column in columns:
        found = [
            differences.of(run, None if column is None else column.task) for run in differences.runs
        ]
        cells = ["-" if item is None else difference_text(item, column) for item in found]
        rows.append(["mean over tasks" if column is None else column.task, *cells])
    words = "Differences on the same rows, with 95 % intervals of the paired bootstrap."
    title = f"Against {differences.against}"
    return _section(title, words, ["Task", *differences.runs], rows, name="differences")


def _summary_section(extras: Extras) -> Html:
    has_parts = any(item.parts for item in extras.summaries)
    head = ["Run", "Worst task", "Its value"]
    head += [_PART_NAMES[name] for name in PARTS] if has_parts else []
    rows = []
    for item in extras.summaries:
        row = [item.run, item.worst_task, number(item.worst.value, None)]
        if has_parts:
            row += [_mean_text(item.parts.get(name)) for name in PARTS]
        rows.append(row)
    title, words = "Worst task", "Lowest value of any task"
    if has_parts:
        title += " and transfer"
        words += "; means over tasks by whether the training mixture had them"
    return _section(title, words + ".", head, rows, name="summary")


def _mean_text(mean: MeanOverTasks | None) -> str:
    if mean is None:
        return "-"
    value, error = number(mean.value, None), number(mean.standard_error, None)
    return f"{value} ± {error} ({mean.num_tasks})"


def _benchmark_section(extras: Extras) -> Html:
    names = [*SECTION_WEIGHTS, "overall"]
    head = ["Section", "Weight", *(item.run for item in extras.benchmark), "Not run, counted as 0"]
    rows = []
    for name in names:
        scores = [item.sections[name] for item in extras.benchmark]
        missing = sorted({category for score in scores for category in score.missing})
        weight = SECTION_WEIGHTS.get(name)
        rows.append(
            [
                name.replace("_", " "),
                "" if weight is None else f"{100 * weight:.0f} %",
                *(number(score.accuracy, None) for score in scores),
                f"{len(missing)} categories" if name == "overall" else ", ".join(missing) or "-",
            ]
        )
    words = "Sections and weights of version 4; a category that was not run counts as 0 there."
    return _section("Berkeley Function Calling Leaderboard", words, head, rows, name="bfcl")


def _general_section(extras: Extras) -> Html:
    names = list(dict.fromkeys(s.benchmark for scores in extras.general.values() for s in scores))
    rows = []
    for run, scores in extras.general.items():
        known = {score.benchmark: score for score in scores}
        cells = [str(known[name]) if name in known else "-" for name in names]
        rows.append([run, *cells])
    words = "Benchmarks of lm-eval, run by lm-eval with its own prompts; they are in no mean here."
    return _section("General ability", words, ["Run", *names], rows, name="general")


def _reference_section(board: Leaderboard, extras: Extras) -> Html:
    columns = {column.task: column for column in board.columns}
    rows = []
    for item in extras.references:
        column = columns[item.task]
        best = board.best(item.task)
        rows.append(
            [
                item.task,
                item.model,
                number(item.value, column),
                "-" if best is None else number(best, column),
                "comparable" if item.comparable else "not comparable",
                item.protocol,
                item.source,
            ]
        )
    head = ["Task", "Model", "Published", "Best here", "", "What differs", "Source"]
    words = "Numbers of others, under their own protocol; they are in no mean and no ranking."
    return _section("Published numbers", words, head, rows, name="references")


def _leakage_section(extras: Extras) -> Html:
    rows = [
        [
            leak.task,
            leak.run,
            f"{leak.split}, {leak.num_rows:,} rows",
            f"{leak.num_exact:,}",
            f"{leak.num_near:,}",
            f"{100 * (leak.num_exact + leak.num_near) / max(1, leak.num_rows):.1f} %",
            "left out of training" if leak.are_dropped else "trained on",
        ]
        for leak in sorted(extras.leaks, key=lambda leak: -(leak.num_exact + leak.num_near))
    ]
    head = ["Task", "Run", "Evaluated", "Exact", "Near", "Share", "Repeated rows"]
    words = "Evaluated rows that stand in the training data of a run, exactly or nearly."
    return _section("Leakage", words, head, rows, name="leakage")
