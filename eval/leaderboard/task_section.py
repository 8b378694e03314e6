"""The tasks: a line of dots each, which opens to bars, facts, confusions and rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from eval.leaderboard.board import Cell, Column, Leaderboard, Run
from eval.leaderboard.charts import bar_track, dot, dot_track, scale_top
from eval.leaderboard.details import Confusion, ShownAnswer, ShownRow, TaskDetails
from eval.leaderboard.markup import Html, element
from eval.leaderboard.table_section import breakable, family_words, short_name, task_anchor
from eval.leaderboard.text import failures_text, number
from eval.metrics import METRICS
from eval.statistics import Comparison
from pipeline.templates.answers import render_answer
from pipeline.templates.pictures import ink_runs, read_picture
from pipeline.types import Json, TaskSpec

OUTPUT_CHARACTERS = 600
_HEAT_STEPS = 5


def tasks_section(
    board: Leaderboard, details: Sequence[TaskDetails], colour: Mapping[str, str]
) -> Html:
    """Return all tasks by family."""
    by_task = {item.column.task: item for item in details}
    families = [
        element(
            "div",
            element("h3", family_words(family)),
            element(
                "div",
                *(_task(board, by_task[column.task], colour) for column in board.tasks_of(family)),
                class_="tasks",
            ),
            class_="family",
            data_family=str(index),
        )
        for index, family in enumerate(board.families)
    ]
    scale = element("div", *(element("span", str(place)) for place in (0, 25, 50, 75, 100)))
    return element(
        "section",
        element(
            "div",
            element("h2", "Tasks"),
            element(
                "div",
                *(element("span", dot(run, colour[run.name]), run.name) for run in board.runs),
                class_="legend",
            ),
            class_="section-head",
        ),
        element("div", element("span"), scale, element("span"), class_="scale number"),
        *families,
        id="tasks",
    )


def _task(board: Leaderboard, details: TaskDetails, colour: Mapping[str, str]) -> Html:
    column = details.column
    cells = [
        (run, colour[run.name], run.cells[column.task])
        for run in board.runs
        if column.task in run.cells
    ]
    best = board.best(column.task)
    facts = f"{column.metric.replace('_', ' ')}, n {column.num_rows}"
    if not column.higher_is_better:
        facts += ", less is better"
    summary = element(
        "summary",
        element(
            "span",
            element("span", breakable(short_name(column, board)), class_="title"),
            element("span", facts, class_="facts"),
        ),
        dot_track(column, cells),
        element("span", "" if best is None else number(best, column), class_="lead number"),
    )
    inside = element(
        "div",
        element("div", _bars(details, cells), _facts(details), class_="halves"),
        _confusions(details),
        _rows(details),
        class_="inside",
    )
    return element(
        "details",
        summary,
        inside,
        class_="task",
        id=task_anchor(board, column),
        data_find=f"{column.task} {column.family} {column.metric}".lower(),
    )


def _bars(details: TaskDetails, cells: Sequence[tuple[Run, str, Cell]]) -> Html:
    column = details.column
    top = scale_top(column, [cell for _, _, cell in cells])
    parts: list[Html] = []
    for run, colour, cell in cells:
        failures = f", {told}" if (told := failures_text(cell)) else ""
        parts += [
            element(
                "div", dot(run, colour), element("span", run.name, title=run.name), class_="who"
            ),
            bar_track(column, cell, top=top, colour=colour),
            element(
                "div",
                element("span", number(cell.value, column)),
                element(
                    "span", f" ± {number(cell.standard_error, column)}{failures}", class_="error"
                ),
                class_="number",
            ),
        ]
    differences = [
        _difference(name, comparison, details) for name, comparison in details.differences.items()
    ]
    return element("div", element("div", *parts, class_="bars"), *differences)


def _difference(name: str, comparison: Comparison, details: TaskDetails) -> Html:
    column = details.column
    base = next(run.name for run in details.runs if run.kind == "base")
    low, high = number(comparison.low, column), number(comparison.high, column)
    chance = "< 0.001" if comparison.p_value < 0.001 else f"= {comparison.p_value:.3f}"
    sign = "+" if comparison.difference >= 0 else "-"
    change = sign + number(abs(comparison.difference), column)
    return element(
        "p",
        f"{name} minus {base}: ",
        element("strong", change, class_="number"),
        element(
            "span",
            f" (95 % interval {low} to {high}, paired bootstrap, p {chance})",
            class_="quiet number",
        ),
        class_="difference",
    )


def _facts(details: TaskDetails) -> Html:
    column, entry = details.column, details.column.entry
    requests = ", ".join(entry["decoding"].get("requests", {})) or "-"
    facts = [
        ("Split", f"{column.split}, {column.num_rows} rows"),
        ("Source", column.source or "-"),
        ("Kind", str(entry["kind"]).replace("_", " ")),
        ("Asked by", requests.replace("choices", "likelihood of each choice")),
        ("Longest answer", f"{entry['decoding'].get('max_new_tokens', '-')} tokens"),
        ("Data", column.data_sha256[:12]),
        ("Prompts", str(entry["prompts_sha256"])[:12]),
    ]
    if "calls_read_as" in entry["decoding"]:
        facts.append(("Calls read as", str(entry["decoding"]["calls_read_as"])))
    if details.runs:
        facts += _other_metrics(details.runs[-1], column)
    pairs = [part for name, value in facts for part in (element("dt", name), element("dd", value))]
    return element("dl", *pairs)


def _other_metrics(run: Run, column: Column) -> list[tuple[str, str]]:
    """Return the metrics beside the headline metric, of one run."""
    shown = []
    for name, value in run.entries[column.task]["metrics"].items():
        metric = METRICS.get(name)
        factor, digits = (1, 3) if metric and not metric.higher_is_better else (100, 1)
        numbers = (factor * value[part] for part in ("value", "standard_error"))
        text = " ± ".join(f"{one:.{digits}f}" for one in numbers)
        if name != column.metric:
            shown.append((name.replace("_", " "), f"{text} ({run.name})"))
    return shown


def _confusions(details: TaskDetails) -> Html:
    if not details.confusions:
        return Html("")
    tables = [_matrix(name, confusion) for name, confusion in details.confusions.items()]
    return element(
        "div",
        element("h3", "Answers (columns) by target (rows)"),
        element("div", *tables, class_="matrices"),
    )


def _matrix(name: str, confusion: Confusion) -> Html:
    head = element(
        "tr",
        element("th"),
        *(element("th", label, title=label, scope="col") for label in confusion.columns),
    )
    body = []
    for label, counts in zip(confusion.labels, confusion.counts, strict=True):
        total = max(sum(counts), 1)
        cells = [
            element("td", str(count), class_=f"h{-(-count * _HEAT_STEPS // total)}")
            for count in counts
        ]
        body.append(element("tr", element("th", label, title=label, scope="row"), *cells))
    return element(
        "table",
        element("caption", name),
        element("thead", head),
        element("tbody", *body),
        class_="matrix number",
    )


def _rows(details: TaskDetails) -> Html:
    if not details.rows:
        return Html("")
    rows = [_row(row, details) for row in details.rows]
    return element(
        "div",
        element("h3", "Rows, from best to worst answered"),
        element("div", *rows, class_="rows"),
    )


def _row(row: ShownRow, details: TaskDetails) -> Html:
    answers: list[Html] = [
        element("span", "target", class_="who"),
        element(
            "pre", _picture(row.target, details.spec), _cut(target_text(row.target, details.spec))
        ),
    ]
    for run, answer in zip(details.runs, row.answers, strict=True):
        answers += [
            element("span", run.name, class_="who", title=run.name),
            element(
                "pre",
                _picture(answer.output if answer else None, details.spec),
                *_answer(answer, details.column),
            ),
        ]
    return element(
        "div",
        element("pre", row.prompt, title=row.key),
        element("div", *answers, class_="answers"),
        class_="row",
    )


def _answer(answer: ShownAnswer | None, column: Column) -> tuple[Html, str]:
    if answer is None:
        return element("span", "-", class_="mark part"), "not asked"
    reason = f" ({answer.failure.replace('_', ' ')})" if answer.failure else ""
    text = (_cut(answer.output) or "(nothing)") + reason
    if not column.higher_is_better:
        return element("span", f"{answer.score:.2f}", class_="mark part"), text
    if answer.score >= 1.0:
        return element("span", "✓", class_="mark right", title="right"), text
    if answer.score <= 0.0:
        return element("span", "✗", class_="mark wrong", title="wrong"), text
    return element("span", f"{100 * answer.score:.0f}", class_="mark part", title="partly"), text


def _picture(answer: Json, spec: TaskSpec) -> Html:
    """Return the picture that an answer stands for, nothing where it is none."""
    is_picture = spec.settings.get("is_picture")
    picture = read_picture(answer) if is_picture and isinstance(answer, str) else None
    if picture is None:
        return Html("")
    size = len(picture)
    strokes = (
        element("rect", x=column, y=row, width=length, height=1)
        for column, row, length in ink_runs(picture)
    )
    return element(
        "svg",
        *strokes,
        class_="picture",
        viewBox=f"0 0 {size} {size}",
        role="img",
        aria_label=f"picture of {size} x {size} points",
    )


def target_text(target: Json, spec: TaskSpec) -> str:
    """Return a gold answer as a model would write it, else as JSON."""
    if isinstance(target, str):
        return target
    try:
        has_text = spec.kind not in {"function_calling", "records", "text", "chat"}
        return render_answer(target, spec) if has_text else _json(target)
    except ValueError:
        return _json(target)


def _json(target: Json) -> str:
    if isinstance(target, dict) and "ground_truth" in target:
        return _json(target["ground_truth"])
    if isinstance(target, list) and target and all(isinstance(item, dict) for item in target):
        return "\n".join(json.dumps(item, ensure_ascii=False) for item in target)
    return json.dumps(target, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= OUTPUT_CHARACTERS else text[:OUTPUT_CHARACTERS] + " …"
