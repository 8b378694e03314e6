"""Exact calls: the order counts where it is asked for, references where they lead."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from eval.metrics import METRICS
from pipeline.types import TaskSpec

MATCH = METRICS["call_exact_match"]


def spec(**settings):
    return TaskSpec(
        id="t",
        kind="function_calling",
        family="f",
        instruction="",
        settings={"granular": "calls", **settings},
    )


def call(name, label=None, **arguments):
    made = {"name": name, "arguments": arguments}
    return made if label is None else {**made, "label": label}


CHAIN = [
    call("find", "var1", city="Oslo"),
    call("find", "var2", city="Bergen"),
    call("fly", a="$var1.id$", b="$var2.id$"),
]


def is_right(answer, target, **settings):
    return MATCH.row_value(answer, target, spec(**settings)) == 1.0


def test_a_reversed_chain_is_wrong_in_every_view():
    for view in ("calls", "nested", "chaining", "parallel"):
        assert is_right(CHAIN, CHAIN, view=view)
        assert not is_right(CHAIN[::-1], CHAIN, view=view)
    assert not is_right(CHAIN[::-1], CHAIN)


def test_independent_calls_may_change_places_with_their_references():
    swapped = [CHAIN[1], CHAIN[0], call("fly", a="$var2.id$", b="$var1.id$")]
    unlabelled = [{key: value for key, value in c.items() if key != "label"} for c in swapped]
    for settings in ({}, {"view": "calls"}, {"view": "parallel"}):
        assert is_right(unlabelled, CHAIN, **settings)
        assert is_right([CHAIN[1], CHAIN[0], CHAIN[2]], CHAIN, **settings), "labels say which"
        # Bergen's result where Oslo's belongs.
        moved = [call("find", city="Bergen"), call("find", city="Oslo"), CHAIN[2]]
        assert not is_right(moved, CHAIN, **settings)
    assert not is_right(unlabelled, CHAIN, view="nested")
    assert not is_right(unlabelled, CHAIN, view="chaining")


def test_a_label_of_its_own_is_followed():
    named = [
        call("find", "bergen", city="Bergen"),
        call("find", "oslo", city="Oslo"),
        call("fly", a="$oslo.id$", b="$bergen.id$"),
    ]
    assert is_right(named, CHAIN)
    assert not is_right([*named[:2], call("fly", a="$bergen.id$", b="$oslo.id$")], CHAIN)


@pytest.mark.parametrize("field", ["$var1.name$", "$var1$", "$var1[0]$", "$var9.id$"])
def test_another_part_of_a_result_is_another_argument(field):
    assert not is_right([*CHAIN[:2], call("fly", a=field, b="$var2.id$")], CHAIN)


def test_plain_calls_match_in_any_order_and_repeats_count():
    calls = [call("f", a=1), call("g"), call("f", a=2), call("f", a=1)]
    for order in itertools.permutations(calls):
        assert is_right(list(order), calls, view="parallel")
        assert is_right(list(order), calls, view="chaining") == (list(order) == calls)
    assert not is_right(calls[:3], calls)


def test_names_match_in_order():
    names = ["f", "g", "f"]
    assert is_right(names, names, granular="names")
    assert is_right(names, names, granular="names", view="names")
    for order in (["f", "f", "g"], ["g", "f", "f"], ["f", "g"]):
        assert not is_right(order, names, granular="names")


def test_what_calls_compute_decides_as_an_interpreter_finds_it():
    """Running both answers on a function that returns its own expression is the oracle."""
    generator = random.Random(7)

    def made():
        calls = []
        for position in range(generator.randint(1, 4)):
            earlier = [f"$var{number}$" for number in range(1, position + 1)]
            calls.append(call(generator.choice("fg"), x=generator.choice(["a", *earlier])))
        return calls

    def results(calls):
        known = {}
        for position, item in enumerate(calls, start=1):
            argument = item["arguments"]["x"]
            known[f"$var{position}$"] = (item["name"], known.get(argument, argument))
        return sorted(map(repr, known.values()))

    pairs = [(made(), made()) for _ in range(4000)]
    verdicts = [is_right(one, other) for one, other in pairs]
    assert verdicts == [results(one) == results(other) for one, other in pairs]
    assert 100 < sum(verdicts) < 3900


def test_references_that_double_at_each_call_take_no_time():
    calls = [call("f", a="x")]
    calls += [call("f", a=f"$var{n}$", b=f"$var{n}$") for n in range(1, 400)]
    started = time.perf_counter()
    assert is_right(calls, calls)
    assert time.perf_counter() - started < 5
