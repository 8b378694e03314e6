import pytest

from eval.parsers import parse_answer
from pipeline.templates.records import render_records
from pipeline.templates.styles import render_conversation
from pipeline.types import TaskExample, TaskSpec

EVENTS = [
    {"table": "lab", "time": 3.5, "values": {"item": "glucose", "value": 5.43219, "flag": None}},
    {"table": "drug", "time": 1, "values": {"drug": "insulin", "dose": 12.0}},
    {"table": "note", "time": None, "values": {"text": "two\nlines"}},
]


def lines(records=EVENTS, **settings):
    return render_records(records, settings).strip("\n").split("\n")


def test_events_are_sorted_by_time_and_say_how_much_later_they_are():
    assert lines() == [
        "- note | text two lines",
        "- +0 | drug | drug insulin | dose 12",
        "- +2.5 | lab | item glucose | value 5.4322",
    ]


def test_times_may_be_given_or_left_out():
    assert lines(time="given")[1] == "- 1 | drug | drug insulin | dose 12"
    assert lines(time="none")[1] == "- drug | drug insulin | dose 12"


def test_digits_may_stand_apart():
    assert lines(digits="spaced")[2] == "- +2 . 5 | lab | item glucose | value 5 . 4 3 2 2"


def test_the_latest_events_are_kept():
    assert lines(max_events=1) == ["- +0 | lab | item glucose | value 5.4322"]
    assert lines(total_characters=90) == lines()[1:]
    assert lines(total_characters=10) == [""]


def test_columns_beyond_the_budget_of_an_event_are_left_out():
    assert lines(event_characters=26)[1] == "- +0 | drug | drug insulin"


@pytest.mark.parametrize("events", [EVENTS, EVENTS[::-1]])
def test_the_order_of_the_source_does_not_matter(events):
    assert lines(events) == lines()


def test_plain_maps_and_values_are_events_too():
    assert lines([{"age": 61, "sex": "f"}, 7]) == ["- age 61 | sex f", "- value 7"]


def test_records_are_shown_and_answered_end_to_end():
    spec = TaskSpec(
        id="t",
        kind="records",
        family="records",
        instruction="Will the patient die in hospital?",
        labels=("no", "yes"),
        metrics=("auroc",),
    )
    example = TaskExample(
        key="t/test/0",
        task="t",
        split="test",
        inputs={"records": EVENTS, "age": 61},
        target="yes",
        choices=("no", "yes"),
    )
    conversation = render_conversation(example, spec)
    assert conversation.messages[0].content == "\n".join(
        [spec.instruction, "Records:", *lines(), "Age: 61", "Options: no, yes"]
    )
    assert conversation.context_side == "left"
    assert parse_answer(conversation.messages[1].content, example, spec) == "yes"


def test_several_labels_of_records_come_back():
    spec = TaskSpec(
        id="t",
        kind="records",
        family="records",
        instruction="Which diagnoses?",
        labels=("heart", "lung", "kidney"),
        settings={"answer": "labels"},
        metrics=("set_f1",),
    )
    for target in (["heart", "kidney"], []):
        example = TaskExample(
            key="t/test/0", task="t", split="test", inputs={"records": []}, target=target
        )
        answer = render_conversation(example, spec).messages[-1].content
        assert parse_answer(answer, example, spec) == target
