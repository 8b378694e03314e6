from pipeline.sources.generated.cards import ConfigCard, render_card


def test_a_card_lists_configs_files_and_features():
    card = ConfigCard(
        name="plus",
        files={"train": "plus/train.jsonl"},
        features={
            "text": "string",
            "tags": [("O", "B-X")],
            "words": ["string"],
            "label": ("no", "yes"),
            "parts": {"a": "string"},
        },
    )
    assert render_card("owner/name", [card], "A note.") == (
        "---\n"
        "license: cc0-1.0\n"
        "configs:\n"
        "- config_name: plus\n"
        "  data_files:\n"
        "  - split: train\n"
        "    path: plus/train.jsonl\n"
        "dataset_info:\n"
        "- config_name: plus\n"
        "  features:\n"
        "  - name: text\n"
        "    dtype: string\n"
        "  - name: tags\n"
        "    sequence:\n"
        "      class_label:\n"
        "        names:\n"
        "          '0': 'O'\n"
        "          '1': 'B-X'\n"
        "  - name: words\n"
        "    sequence: string\n"
        "  - name: label\n"
        "    dtype:\n"
        "      class_label:\n"
        "        names:\n"
        "          '0': 'no'\n"
        "          '1': 'yes'\n"
        "  - name: parts\n"
        "    sequence:\n"
        "    - name: a\n"
        "      dtype: string\n"
        "---\n"
        "\n"
        "# owner/name\n"
        "\n"
        "Generated rows in the columns of the public dataset of this name. A note.\n"
    )


def test_a_card_without_features_leaves_the_types_to_the_reader():
    text = render_card("o/n", [ConfigCard(name="default", files={"test": "x"}, features={})], "")
    assert "dataset_info" not in text
