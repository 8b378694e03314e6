"""The whole page: one file, nothing loaded from outside, a content policy that forbids it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from eval.leaderboard.board import Leaderboard, Run, display_name
from eval.leaderboard.charts import bar_track, colours, curve_chart, dot, edge_chart
from eval.leaderboard.curves import TrainingCurves
from eval.leaderboard.details import TaskDetails
from eval.leaderboard.edges import Edge
from eval.leaderboard.extra_sections import extra_sections
from eval.leaderboard.extras import Extras
from eval.leaderboard.markup import Html, element
from eval.leaderboard.routing import RoutingReport
from eval.leaderboard.routing_section import routing_section
from eval.leaderboard.script import SCRIPT
from eval.leaderboard.style import STYLE
from eval.leaderboard.table_section import short_name, table_section
from eval.leaderboard.task_section import tasks_section
from eval.leaderboard.text import number
from eval.leaderboard.training_runs import TrainingRun, find_training_run

MAX_CARDS = 5
_DATA_NAMES = {
    "embedded": "generated",
    "mirror": "local mirror",
    "hub": "hub",
    "files": "files beside the annotations",
}


def build_page(
    board: Leaderboard,
    details: Sequence[TaskDetails],
    curves: Sequence[TrainingCurves],
    extras: Extras,
    *,
    routing: Sequence[RoutingReport] = (),
    edges: Sequence[Edge] = (),
) -> str:
    """Return the page as HTML text."""
    colour = colours(board.runs)
    body = element(
        "body",
        _top(board, colour),
        element(
            "main",
            table_section(board, colour),
            *extra_sections(board, extras),
            tasks_section(board, details, colour),
            *(_curves_section(item, board) for item in curves),
            *(routing_section(item) for item in routing),
            *(_edge_section(edge) for edge in edges),
            _method_section(board, colour),
        ),
        _foot(),
        element("script", Html(SCRIPT)),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=content_policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", "taskloom leaderboard"),
        element("style", Html(STYLE)),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def content_policy() -> str:
    """Return the policy: only this page's own style sheet and script, by their hashes."""
    return (
        f"default-src 'none'; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _top(board: Leaderboard, colour: Mapping[str, str]) -> Html:
    num_models = sum(run.kind != "majority" for run in board.runs)
    models = "1 model" if num_models == 1 else f"{num_models} models"
    tasks = "1 task" if len(board.columns) == 1 else f"{len(board.columns)} tasks"
    rows = sum(column.num_rows for column in board.columns)
    return element(
        "header",
        element("p", "taskloom", class_="eyebrow"),
        element("h1", f"{tasks}, {models}"),
        element(
            "p",
            f"{_shown_means(board)} {rows:,} rows. Unparsable answers count as wrong.",
            class_="lede",
        ),
        *(_notice(note) for note in board.notes),
        element("div", *_cards(board, colour), class_="cards"),
        class_="top",
    )


def _has_means(board: Leaderboard) -> bool:
    """Return whether a model has a mean over all tasks, not only the baseline."""
    return any(board.mean(run) is not None for run in board.runs if run.kind != "majority")


def _shown_means(board: Leaderboard) -> str:
    num_means = sum(board.mean(run) is not None for run in board.runs)
    if not _has_means(board):
        return "No model has a value on every task, so there is no mean over all. In all,"
    shown = "the mean" if num_means <= MAX_CARDS else f"the {MAX_CARDS} best of {num_means} means"
    return f"Below: {shown} over all tasks, from"


def _notice(note: str) -> Html:
    """Return a note; what stands before its first colon is the heading."""
    heading, colon, rest = note.partition(": ")
    if not colon:
        return element("p", note, class_="notice", role="note")
    return element(
        "p",
        element("strong", f"{heading}. "),
        rest[:1].upper() + rest[1:],
        class_="notice",
        role="note",
    )


def _cards(board: Leaderboard, colour: Mapping[str, str]) -> list[Html]:
    if not _has_means(board):
        return []
    means = [(run, mean) for run in board.runs if (mean := board.mean(run)) is not None]
    if len(means) > MAX_CARDS:
        means = sorted(means, key=lambda pair: -pair[1].value)[:MAX_CARDS]
    return [
        element(
            "div",
            element(
                "p",
                dot(run, colour[run.name]),
                element("span", run.name, title=run.name),
                class_="name",
            ),
            element(
                "p",
                number(mean.value, None),
                element("span", f" ± {number(mean.standard_error, None)}", class_="error"),
                class_="big number",
            ),
            bar_track(None, mean, top=1.0, colour=colour[run.name]),
            class_="card",
        )
        for run, mean in means
    ]


def _curves_section(item: TrainingCurves, board: Leaderboard) -> Html:
    names = {column.task: short_name(column, board) for column in board.columns}
    has_validation = any(curve.validation for curve in item.curves)
    legend = [element("span", element("span", class_="key"), "train")]
    if has_validation:
        legend.append(element("span", element("span", class_="key validation"), "validation"))
    return element(
        "section",
        element(
            "div",
            element("h2", f"Learning curves of {item.name}"),
            element(
                "p", "Loss in nats per answer token; each task has its own scale.", class_="quiet"
            ),
            element("div", *legend, class_="legend"),
            class_="section-head",
        ),
        element(
            "div",
            *(curve_chart(curve, names.get(curve.task, curve.task)) for curve in item.curves),
            class_="curves",
        ),
    )


def _edge_section(edge: Edge) -> Html:
    words = (
        f"Averages of the changes of both adapters, from {edge.first} at the left to {edge.second} "
        f"at the right, {len(edge.weights)} points. {100 * edge.monotone_share():.0f} % of the "
        "steps towards an adapter do not lower the score of its task."
    )
    return element(
        "section",
        element(
            "div",
            element("h2", f"Edge from {edge.first} to {edge.second}"),
            element("p", words, class_="quiet"),
            class_="section-head",
        ),
        element(
            "div",
            *(edge_chart(task, values, edge.weights) for task, values in edge.scores.items()),
            class_="curves",
        ),
    )


def _method_section(board: Leaderboard, colour: Mapping[str, str]) -> Html:
    runs = [run for run in board.runs if run.kind != "majority"]
    head = element(
        "tr",
        element("td"),
        *(element("th", dot(run, colour[run.name]), " ", run.name, scope="col") for run in runs),
    )
    facts = [_facts(run) for run in runs]
    every = dict.fromkeys(name for part in facts for name in part)
    names = [name for name in every if any(part.get(name) for part in facts)]
    body = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(element("td", part.get(name) or "-") for part in facts),
        )
        for name in names
    ]
    return element(
        "section",
        element("div", element("h2", "How it was measured"), class_="section-head"),
        element(
            "div",
            element("table", element("thead", head), element("tbody", *body), class_="method"),
            class_="sheet",
        ),
        id="method",
    )


def _facts(run: Run) -> dict[str, str]:
    about = run.about
    environment: Mapping[str, Any] = about.get("environment") or {}
    libraries: Mapping[str, Any] = environment.get("libraries") or {}
    shown = ("torch", "transformers", "peft")
    asking: Mapping[str, Any] = about.get("asking") or {}
    size = about.get("num_parameters")
    training = find_training_run(run)
    return {
        "Model": display_name(about.get("model")),
        "Adapter": display_name(about.get("adapter")),
        "Parameters": f"{size:,}" if isinstance(size, int) else "",
        "Training run": "" if training is None else training.folder.name,
        "Trained for": "" if training is None else _training_words(training),
        "Data": _DATA_NAMES.get(run.data_root_kind, run.data_root_kind),
        "Rows per task": "all" if about.get("max_rows") is None else f"at most {about['max_rows']}",
        "Decoding": str(about.get("decoding", "")),
        "Wording": str(asking.get("style", "")),
        "Number format": str(about.get("dtype") or ""),
        "Device": ", ".join(
            str(value) for value in (about.get("device"), environment.get("hardware")) if value
        ),
        "Seconds": f"{about['seconds']:,.0f}" if "seconds" in about else "",
        "Libraries": ", ".join(
            f"{name} {libraries[name]}" for name in shown if libraries.get(name)
        ),
        "Commit": str(environment.get("git_commit") or "")[:20],
        "Weights": str(about.get("weights_sha256") or about.get("answers_sha256") or "")[:12],
    }


def _training_words(training: TrainingRun) -> str:
    counts = ((training.num_steps, "steps"), (training.num_tokens, "tokens"))
    return ", ".join(f"{count:,} {unit}" for count, unit in counts if count is not None)


def _foot() -> Html:
    return element(
        "footer",
        element(
            "p",
            "Majority answer: every row gets the most frequent answer of the train split. Errors "
            "are one standard error over rows, or over sources where rows share them: the usual "
            "formula for means, up to 1,000 bootstrap draws for everything else. Means over tasks "
            "are unweighted and take tasks as independent.",
        ),
        class_="foot",
    )
