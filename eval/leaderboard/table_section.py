"""The sortable table: one row per run, a column per task, per family mean and for all tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from eval.leaderboard.board import Cell, Column, Leaderboard, Run
from eval.leaderboard.charts import dot, thin_bar
from eval.leaderboard.markup import Html, element, joined
from eval.leaderboard.text import cell_text, failures_text, number

KIND_NAMES = {"majority": "baseline", "base": "base", "adapter": "adapter", "given": "given"}


def table_section(board: Leaderboard, colour: Mapping[str, str]) -> Html:
    """Return controls and table."""
    return element(
        "section",
        element(
            "div",
            element("h2", "Leaderboard"),
            *_provenance(board),
            element(
                "p",
                "Value ± standard error, times 100. Best of a column in colour.",
                class_="quiet",
            ),
            class_="section-head",
        ),
        _controls(board),
        element("p", "Nothing matches the filter.", id="no-match", hidden=True, class_="quiet"),
        element(
            "div",
            element("table", _head(board), _body(board, colour), class_="board number"),
            class_="sheet",
        ),
        id="leaderboard",
    )


def task_anchor(board: Leaderboard, column: Column) -> str:
    """Return the id of a task's place on the page, free of the task's own name."""
    return f"task-{board.columns.index(column) + 1}"


def short_name(column: Column, board: Leaderboard) -> str:
    """Return a task's name without its family in front, where that is still unique."""
    tail = column.task.removeprefix(f"{column.family}/")
    same = [other for other in board.columns if other.task.endswith(tail)]
    return tail if len(same) == 1 else column.task


def breakable(name: str) -> Html:
    """Return a name that may be broken behind its underscores and slashes."""
    *parts, last = re.split(r"(?<=[_/])(?=[^_/])", name)
    return joined(*(joined(part, element("wbr")) for part in parts), last)


def _is_uniform(board: Leaderboard) -> bool:
    """Return whether all runs take their rows from the same kind of place."""
    return len({run.data_root_kind for run in board.runs}) == 1


def _provenance(board: Leaderboard) -> list[Html]:
    """Return the mark of a table whose rows are all generated; else the runs are marked."""
    if board.has_generated_data and _is_uniform(board):
        return [element("span", "generated data", class_="tag warn")]
    return []


def _controls(board: Leaderboard) -> Html:
    buttons = [
        element(
            "button",
            family_words(family),
            type="button",
            aria_pressed="true",
            data_family=str(index),
        )
        for index, family in enumerate(board.families)
        if len(board.families) > 1
    ]
    field = element(
        "input",
        id="filter",
        type="search",
        placeholder="Filter runs and tasks",
        aria_label="Filter runs and tasks",
    )
    return element("div", field, *buttons, class_="controls")


def _num_tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _head(board: Leaderboard) -> Html:
    groups = [element("th"), element("th", "All tasks", colspan=2)]
    names = [
        element("th", element("button", "Run", type="button"), aria_sort="none", scope="col"),
        _sortable("Mean", [_num_tasks(len(board.columns))], family=None, edge=False),
        _sortable("Unparsed", ["share of rows"], family=None, edge=False),
    ]
    for index, family in enumerate(board.families):
        columns = board.tasks_of(family)
        has_mean = len(columns) > 1
        groups.append(
            element(
                "th",
                family_words(family),
                colspan=len(columns) + has_mean,
                class_="edge",
                data_family=str(index),
            )
        )
        if has_mean:
            names.append(_sortable("Mean", [_num_tasks(len(columns))], family=index, edge=True))
        for place, column in enumerate(columns):
            names.append(
                _sortable(
                    short_name(column, board),
                    [column.metric.replace("_", " "), f"n {column.num_rows}"],
                    family=index,
                    edge=place == 0 and not has_mean,
                )
            )
    return element("thead", element("tr", *groups, class_="groups"), element("tr", *names))


def _sortable(name: str, facts: Sequence[str], *, family: int | None, edge: bool) -> Html:
    return element(
        "th",
        element("button", breakable(name), type="button"),
        *(element("span", fact, class_="metric") for fact in facts),
        aria_sort="none",
        scope="col",
        data_type="number",
        data_family=None if family is None else str(family),
        class_="edge" if edge else None,
    )


def _body(board: Leaderboard, colour: Mapping[str, str]) -> Html:
    return element("tbody", *(_row(board, run, colour[run.name]) for run in board.runs))


def _row(board: Leaderboard, run: Run, colour: str) -> Html:
    tags = [element("span", KIND_NAMES[run.kind], class_="tag")]
    if run.data_root_kind == "embedded" and run.kind != "majority" and not _is_uniform(board):
        tags.append(element("span", "generated data", class_="tag warn"))
    name = element(
        "div", dot(run, colour), element("span", run.name, title=run.name), *tags, class_="run"
    )
    means = [board.mean(other) for other in board.runs]
    cells = [
        element("th", name, scope="row", data_sort=run.name),
        _mean_cell(board.mean(run), [mean.value for mean in means if mean], family=None),
        _unparsed_cell(run),
    ]
    for index, family in enumerate(board.families):
        columns = board.tasks_of(family)
        if len(columns) > 1:
            rivals = [mean for other in board.runs if (mean := board.mean(other, family))]
            best = [mean.value for mean in rivals]
            cells.append(_mean_cell(board.mean(run, family), best, family=index))
        for place, column in enumerate(columns):
            edge = place == 0 and len(columns) == 1
            cells.append(_task_cell(board, run, column, family=index, edge=edge))
    words = f"{run.name} {run.kind} {run.about.get('model', '')}".lower()
    return element("tr", *cells, data_find=words)


def _mean_cell(mean: Cell | None, values: list[float], *, family: int | None) -> Html:
    shown = {} if family is None else {"data_family": str(family)}
    edge = "" if family is None else " edge"
    if mean is None:
        return element(
            "td", element("span", "-", class_="none"), data_sort="", class_=f"mean{edge}", **shown
        )
    is_best = mean.is_comparable and mean.value == max(values)
    return element(
        "td",
        *_value(mean, None, is_best=is_best),
        thin_bar(mean.value),
        data_sort=repr(mean.value),
        class_=f"mean{edge}",
        **shown,
    )


def _unparsed_cell(run: Run) -> Html:
    """Return the share of a run's rows without a readable answer; the baseline has none."""
    if run.kind == "majority":
        return element("td", element("span", "-", class_="none"), data_sort="")
    failures = sum(cell.num_failures for cell in run.cells.values())
    unanswered = sum(cell.num_unanswered for cell in run.cells.values())
    rows = sum(cell.num_rows for cell in run.cells.values())
    return element(
        "td",
        f"{100 * failures / rows:.1f} %",
        title=f"{run.name}: {failures:,} of {rows:,} rows"
        + (f", {unanswered:,} of them without an answer" if unanswered else ""),
        data_sort=repr(failures / rows),
    )


def _task_cell(board: Leaderboard, run: Run, column: Column, *, family: int, edge: bool) -> Html:
    cell = run.cells.get(column.task)
    class_ = "edge" if edge else None
    if cell is None:
        return element(
            "td",
            element("span", "-", class_="none"),
            data_sort="",
            data_family=str(family),
            class_=class_,
        )
    is_best = cell.is_comparable and cell.value == board.best(column.task)
    failures = f", {told}" if (told := failures_text(cell)) else ""
    bar = thin_bar(cell.value) if column.higher_is_better else Html("")
    return element(
        "td",
        *_value(cell, column, is_best=is_best),
        bar,
        title=f"{run.name}, {column.task}: {cell_text(cell, column)}, n {cell.num_rows}{failures}",
        data_sort=repr(cell.value if column.higher_is_better else -cell.value),
        data_family=str(family),
        class_=class_,
    )


def _value(cell: Cell, column: Column | None, *, is_best: bool) -> tuple[Html, Html]:
    mark = "" if cell.is_comparable else "†"
    value = element("span", number(cell.value, column) + mark, class_="best" if is_best else None)
    error = element("span", f" ±{number(cell.standard_error, column)}", class_="error")
    return value, joined(error)


def family_words(name: str) -> str:
    """Return a family's folder name as words."""
    text = name.replace("_", " ")
    known = {"dna": "DNA"}
    return known.get(text, text[:1].upper() + text[1:])
