"""The use of experts on the page: faults first, then tasks by ranks for the most uneven layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eval.leaderboard.markup import Html, element
from eval.leaderboard.routing import RoutedLayer, RoutingFlag, RoutingReport

MAX_LAYERS = 4
MAX_TASKS = 24
MAX_FLAGS = 30
MAX_LISTED = 12
_STEPS = (0.1, 0.5, 1.0, 2.0, 4.0)
"""Bounds of the shades: a task's load on an expert over an even share."""


def routing_section(report: RoutingReport) -> Html:
    """Return what a training run's routers did, in training or in evaluation."""
    return element(
        "section",
        element(
            "div",
            element("h2", f"Experts of {report.name}{' in evaluation' * report.is_evaluation}"),
            element("p", _facts(report), class_="quiet"),
            class_="section-head",
        ),
        _flags(report),
        element("div", *(_layer(report, layer) for layer in shown_layers(report)), class_="usages"),
        element(
            "p",
            "A cell is a task's use of an expert. Shades: below 0.1, 0.5, 1, 2, 4 times an even "
            "share, and above. At the right the entropy in nats; even use has the logarithm of "
            "the number of experts.",
            class_="quiet",
        ),
    )


def shown_layers(report: RoutingReport) -> list[RoutedLayer]:
    """Return the layers with faults, then the most uneven ones, in the order of the model."""
    num_flags = dict.fromkeys((layer.name for layer in report.layers), 0)
    for flag in report.flags:
        num_flags[flag.layer] = num_flags.get(flag.layer, 0) + 1
    ranked = sorted(report.layers, key=lambda layer: (-num_flags[layer.name], -layer.violation))
    chosen = {layer.name for layer in ranked[:MAX_LAYERS]}
    return [layer for layer in report.layers if layer.name in chosen]


def _facts(report: RoutingReport) -> str:
    first = report.layers[0]
    experts = sum(layer.num_experts for layer in report.layers)
    idle = sum(layer.num_idle for layer in report.layers)
    parts = [f"{len(report.layers)} layers", f"{first.num_active} experts per token"]
    if first.num_shared_ranks:
        parts.append(f"{first.num_shared_ranks} ranks always on")
    if first.num_private_experts:
        parts.append(f"{first.num_private_experts} experts of groups")
    parts.append(f"{idle:,} of {experts:,} experts never used")
    rows = (
        "the evaluated rows" if report.is_evaluation else f"{report.num_steps:,} steps of training"
    )
    return f"{', '.join(parts)}; over {rows}."


def _flags(report: RoutingReport) -> Html:
    if not report.flags:
        return element("p", "No collapse, degradation or underfitting was found.")
    head = ("Fault", "Layer", "Experts", "Task", "Value", "Threshold")
    body = [
        element(
            "tr",
            element("th", element("span", flag.fault, class_="tag warn"), scope="row"),
            *(element("td", cell) for cell in _flag_cells(flag)),
        )
        for flag in report.flags[:MAX_FLAGS]
    ]
    left_out = len(report.flags) - MAX_FLAGS
    if left_out > 0:
        body.append(element("tr", element("td", f"and {left_out:,} more", colspan=len(head))))
    return element(
        "div",
        element(
            "table",
            element("thead", element("tr", *(element("th", cell, scope="col") for cell in head))),
            element("tbody", *body),
            class_="method number wide",
        ),
        class_="sheet",
    )


def _flag_cells(flag: RoutingFlag) -> Sequence[str]:
    listed = ", ".join(str(expert) for expert in flag.experts[:MAX_LISTED])
    more = len(flag.experts) - MAX_LISTED
    experts = f"{listed} and {more} more" if more > 0 else listed
    return (flag.layer, experts, flag.task or "-", f"{flag.value:.3g}", f"{flag.threshold:g}")


def _layer(report: RoutingReport, layer: RoutedLayer) -> Html:
    rows: list[Html] = []
    shown = list(zip(report.tasks, layer.by_task, layer.entropy, strict=True))
    for task, loads, entropy in shown[:MAX_TASKS]:
        rows += [
            element("div", element("span", task, title=task), class_="who"),
            _cells(layer, task, loads),
            element("div", f"{entropy:.2f}", class_="number"),
        ]
    left_out = len(shown) - MAX_TASKS
    note = f", {left_out:,} tasks not shown" if left_out > 0 else ""
    words = f"largest load {1 + layer.violation:.1f} times the mean, {layer.num_idle} idle{note}"
    return element(
        "div",
        element("p", element("span", layer.name), element("span", words, class_="quiet")),
        element("div", *rows, class_="bars"),
        class_="usage",
    )


def _cells(layer: RoutedLayer, task: str, loads: Sequence[float]) -> Html:
    width = 100 / layer.num_experts
    marks = [
        element(
            "rect",
            class_=f"u{level}",
            x=f"{first * width:.2f}%",
            width=f"{(last - first) * width:.2f}%",
            height="100%",
        )
        for first, last, level in _runs([_level(loads, load) for load in loads])
    ]
    if 0 < layer.num_private_experts < layer.num_experts:
        place = f"{100 - layer.num_private_experts * width:.2f}%"
        marks.append(element("line", x1=place, x2=place, y1="0%", y2="100%"))
    most = sorted(range(len(loads)), key=lambda expert: -loads[expert])[:3]
    spoken = f"{task}: most used are experts {', '.join(map(str, most))}"
    return element("svg", *marks, class_="cells", role="img", aria_label=spoken)


def _level(loads: Sequence[float], load: float) -> int:
    even = sum(loads) / len(loads)
    return sum(load >= step * even for step in _STEPS) if even else 0


def _runs(levels: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield first, last and level of each run of equal levels."""
    first = 0
    for place in range(1, len(levels) + 1):
        if place == len(levels) or levels[place] != levels[first]:
            yield first, place, levels[first]
            first = place
