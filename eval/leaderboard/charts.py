"""Charts as inline SVG. Positions are percentages, so they follow the width of the page."""

from __future__ import annotations

from collections.abc import Sequence

from eval.leaderboard.board import Cell, Column, Run
from eval.leaderboard.curves import Curve, Points
from eval.leaderboard.markup import Html, element
from eval.leaderboard.text import cell_text, number

NUM_COLOURS = 10
_CURVE_WIDTH, _CURVE_HEIGHT = 220.0, 84.0


def colours(runs: Sequence[Run]) -> dict[str, str]:
    """Return the colour class of every run: fixed for the baseline and the first base model."""
    found: dict[str, str] = {}
    others = 0
    for run in runs:
        if run.kind == "majority":
            found[run.name] = "c-majority"
        elif run.kind == "base" and "c-base" not in found.values():
            found[run.name] = "c-base"
        else:
            found[run.name] = f"c-{others % NUM_COLOURS + 1}"
            others += 1
    return found


def dot(run: Run, colour: str) -> Html:
    """Return the run's mark in a legend."""
    shape = "dot hollow" if run.kind == "majority" else "dot"
    return element("span", class_=f"{shape} {colour}", aria_hidden="true")


def percent(value: float, top: float) -> str:
    """Return where `value` lies between 0 and `top`, cut at both ends."""
    return f"{100 * min(max(value / top, 0.0), 1.0):.2f}%"


def dot_track(column: Column, cells: Sequence[tuple[Run, str, Cell]]) -> Html:
    """Return one line with a dot and an error bar per run, the baseline's ring on top."""
    top = scale_top(column, [cell for _, _, cell in cells])
    marks: list[Html] = [
        element("line", class_="tick", x1=f"{place}%", x2=f"{place}%", y1="20%", y2="80%")
        for place in (0, 25, 50, 75, 100)
    ]
    marks.append(element("line", class_="rail", x1="0%", x2="100%", y1="50%", y2="50%"))
    values = [cell.value for run, _, cell in cells if run.kind != "majority"]
    if len(values) > 1:
        low, high = percent(min(values), top), percent(max(values), top)
        marks.append(element("line", class_="span", x1=low, x2=high, y1="50%", y2="50%"))
    for run, colour, cell in sorted(cells, key=lambda item: item[0].kind == "majority"):
        hollow = run.kind == "majority"
        place = percent(cell.value, top)
        dot_class = "hollow" if hollow else None
        group = [element("circle", class_=dot_class, cx=place, cy="50%", r=7 if hollow else 6)]
        if not hollow:
            group.insert(0, _whisker(cell, top, y="50%"))
        title = element("title", f"{run.name}: {cell_text(cell, column)}")
        marks.append(element("g", title, *group, class_=colour))
    spoken = "; ".join(f"{run.name} {number(cell.value, column)}" for run, _, cell in cells)
    return element("svg", *marks, class_="track", role="img", aria_label=spoken)


def bar_track(column: Column | None, cell: Cell, *, top: float, colour: str) -> Html:
    """Return one bar with its error."""
    width = percent(cell.value, top)
    return element(
        "svg",
        element("rect", class_="rest", width="100%", height="100%", rx=3),
        element("rect", width=width, height="100%", rx=3),
        _whisker(cell, top, y="50%"),
        class_=f"track {colour}",
        role="img",
        aria_label=cell_text(cell, column),
    )


def thin_bar(value: float) -> Html:
    """Return the line below a number in the table."""
    bar = element("rect", width=percent(value, 1.0), height="100%")
    return element("svg", bar, class_="bar", aria_hidden="true")


def scale_top(column: Column, cells: Sequence[Cell]) -> float:
    """Return the value at the right end of a column's charts."""
    if column.higher_is_better:
        return 1.0
    return max([cell.value + cell.standard_error for cell in cells] + [1e-9])


def curve_chart(curve: Curve, name: str) -> Html:
    """Return a small chart of one task's losses, under `name`, with its numbers in words."""
    every = [*curve.train, *curve.validation]
    last_step = max(step for step, _ in every)
    first_step = min(step for step, _ in every)
    highest = max(loss for _, loss in every)
    lines = [element("line", x1=0, x2=_CURVE_WIDTH, y1=y, y2=y) for y in (0, _CURVE_HEIGHT / 2)]
    lines.append(element("line", x1=0, x2=_CURVE_WIDTH, y1=_CURVE_HEIGHT, y2=_CURVE_HEIGHT))
    for points, part in ((curve.train, "train"), (curve.validation, "validation")):
        if points:
            path = _path(points, first_step, last_step, highest)
            lines.append(element("polyline", points=path, class_=part))
    shown = curve.validation or curve.train
    change = f"{shown[0][1]:.2f} → {shown[-1][1]:.2f}"
    return element(
        "div",
        element(
            "p",
            element("span", name, title=curve.task),
            element("span", change, class_="number quiet"),
        ),
        element(
            "svg",
            *lines,
            viewBox=f"0 0 {_CURVE_WIDTH:.0f} {_CURVE_HEIGHT:.0f}",
            preserveAspectRatio="none",
            role="img",
            aria_label=f"{curve.task}: loss from {change}",
        ),
        element(
            "p",
            element("span", f"0 to {highest:.2f}"),
            element("span", f"step {last_step:.0f}"),
            class_="axis number",
        ),
        class_="curve",
    )


def edge_chart(task: str, values: Sequence[float], weights: Sequence[float]) -> Html:
    """Return a small chart of one task's score along an edge, from 0 to the highest score."""
    highest = max(*values, 0.0) or 1.0
    points = [(weight, max(value, 0.0)) for weight, value in zip(weights, values, strict=True)]
    change = f"{100 * values[0]:.1f} → {100 * values[-1]:.1f}"
    middle = f"0 to {100 * highest:.1f}"
    lines = [
        element("line", x1=0, x2=_CURVE_WIDTH, y1=y, y2=y)
        for y in (0, _CURVE_HEIGHT / 2, _CURVE_HEIGHT)
    ]
    path = _path(tuple((100 * weight, value) for weight, value in points), 0, 100, highest)
    return element(
        "div",
        element("p", element("span", task), element("span", change, class_="number quiet")),
        element(
            "svg",
            *lines,
            element("polyline", points=path, class_="validation"),
            viewBox=f"0 0 {_CURVE_WIDTH:.0f} {_CURVE_HEIGHT:.0f}",
            preserveAspectRatio="none",
            role="img",
            aria_label=f"{task}: " + ", ".join(f"{100 * value:.1f}" for value in values),
        ),
        element("p", element("span", middle), class_="axis number"),
        class_="curve",
    )


def _path(points: Points, first_step: float, last_step: float, highest: float) -> str:
    width = max(last_step - first_step, 1.0)
    places = (
        (
            (step - first_step) / width * _CURVE_WIDTH,
            _CURVE_HEIGHT * (1 - loss / max(highest, 1e-9)),
        )
        for step, loss in points
    )
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _whisker(cell: Cell, top: float, *, y: str) -> Html:
    low = percent(cell.value - cell.standard_error, top)
    high = percent(cell.value + cell.standard_error, top)
    return element("line", class_="whisker", x1=low, x2=high, y1=y, y2=y)
