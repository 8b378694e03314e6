import pytest

from pipeline.annotations.tagging import entity_types, mentions, split_tag


def spans(tags, **options):
    tokens = [f"w{i}" for i in range(len(tags))]
    return [(m["type"], m["start"], m["end"]) for m in mentions(tokens, tags, **options)]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], []),
        (["O", "O"], []),
        (["B-X", "I-X", "O"], [("X", 0, 2)]),
        (["B-X", "B-X"], [("X", 0, 1), ("X", 1, 2)]),
        (["B-X", "I-Y"], [("X", 0, 1), ("Y", 1, 2)]),
        (["O", "I-X", "I-X"], [("X", 1, 3)]),
        (["B-X", "O", "I-X"], [("X", 0, 1), ("X", 2, 3)]),
        (["B-X", "I-X", "E-X", "S-X"], [("X", 0, 3), ("X", 3, 4)]),
        (["B-X", "L-X", "U-Y"], [("X", 0, 2), ("Y", 2, 3)]),
        (["B-Multi-cell", "I-Multi-cell"], [("Multi-cell", 0, 2)]),
    ],
)
def test_bio_tags_become_mentions_as_in_the_conll_scorer(tags, expected):
    assert spans(tags) == expected


def test_tags_without_type_get_the_given_one():
    assert spans(["B", "I", "O", "B"], kind="Species") == [("Species", 0, 2), ("Species", 3, 4)]


def test_io_tags_are_types_that_go_on_while_they_stay_the_same():
    tags = ["art-film", "art-film", "O", "person", "art-film"]
    expected = [("art-film", 0, 2), ("person", 3, 4), ("art-film", 4, 5)]
    assert spans(tags, scheme="io") == expected


def test_a_mention_is_its_words_joined_by_one_blank():
    assert mentions(["New", "York", "!"], ["B-L", "I-L", "O"]) == [
        {"text": "New York", "type": "L", "start": 0, "end": 2}
    ]


def test_entity_types_keep_their_first_order():
    assert entity_types(["O", "B-Chem", "B-Dis", "I-Dis", "I-Chem"]) == ("Chem", "Dis")
    assert split_tag("O") == ("O", "")
    assert split_tag("B") == ("B", "")
