"""Whether the calls of a chat template can be read back."""

from __future__ import annotations

import copy

import pytest

from pipeline.chat.call_reading import find_call_format
from pipeline.errors import ChatError
from tests.unit.chat.formats import CHATML, FORMATS
from tests.unit.chat.test_trl_templates import accepting, with_template

FAMILIES = {
    "diffusion_gemma": "gemma",
    "gemma4": "gemma",
    "glm4moe": "glm",
    "gptoss": "gpt_oss",
    "lfm2": "lfm",
    "llama3": "json",
    "nemotron": "qwen",
    "qwen2": "hermes",
    "qwen3": "hermes",
    "qwen3_5": "qwen",
    "qwen3_6": "qwen",
    "qwen3_8": "qwen",
}


@pytest.mark.parametrize("path", accepting("call"), ids=lambda path: path.stem)
def test_the_format_of_every_template_of_trl_is_known(path):
    family = max((name for name in FAMILIES if path.stem.startswith(name)), key=len)
    assert find_call_format(with_template(path)) == FAMILIES[family]


@pytest.mark.parametrize(
    ("name", "found"), [("chatml", "hermes"), ("llama3", "json"), ("embedded", "json")]
)
def test_the_format_is_found_in_small_templates(name, found):
    assert find_call_format(FORMATS[name]()) == found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<tool_call>", "<call>"),
        ("}\\n</tool_call>", "}}\\n</tool_call>"),
        ('"arguments": ', '"inputs": '),
    ],
)
def test_calls_that_cannot_be_read_back_are_refused(old, new):
    tokenizer = copy.deepcopy(FORMATS["chatml"]())
    assert old in CHATML
    tokenizer.chat_template = CHATML.replace(old, new)
    with pytest.raises(ChatError) as caught:
        find_call_format(tokenizer)
    assert caught.value.code == "CHT013"
