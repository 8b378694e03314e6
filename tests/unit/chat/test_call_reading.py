"""Whether the calls of a chat template can be read back."""

from __future__ import annotations

import copy

import pytest

from eval.backends.base import Request
from eval.backends.prompting import PromptBuilder
from pipeline.chat.call_reading import find_call_format
from pipeline.errors import ChatError
from pipeline.recipe import Recipe
from pipeline.training.task_tokens import call_notes
from pipeline.types import Conversation
from tests.unit.chat.formats import CHATML, FORMATS
from tests.unit.chat.test_trl_templates import (
    PLAIN,
    WEATHER,
    accepting,
    answer,
    user,
    with_template,
)

CALLS_ASKED = Request(
    kind="generate",
    conversation=Conversation(
        key="t/test/0",
        task="t",
        messages=(user("Weather?"), answer("", PLAIN)),
        tools=(WEATHER,),
    ),
)
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
    with pytest.raises(ChatError, match="CHT013"):
        PromptBuilder(tokenizer, max_length=512).build([CALLS_ASKED], max_new_tokens=8)
    recipe = Recipe(model_name_or_path="embedded", tasks=["snips/calls"], data_root="embedded")
    [note] = call_notes(recipe, tokenizer)
    assert "cannot be read back" in note
    assert call_notes(recipe.model_copy(update={"function_format": "json"}), tokenizer) == []


def test_what_can_be_read_is_neither_refused_nor_noted():
    tokenizer = FORMATS["chatml"]()
    [prompt] = PromptBuilder(tokenizer, max_length=512).build([CALLS_ASKED], max_new_tokens=8)
    assert prompt.input_ids.size
    recipe = Recipe(model_name_or_path="embedded", tasks=["snips/calls"], data_root="embedded")
    assert call_notes(recipe, tokenizer) == []
