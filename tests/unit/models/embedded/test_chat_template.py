import itertools

import pytest

from pipeline.models.embedded.build import build_embedded_tokenizer

TOOL = {
    "type": "function",
    "function": {
        "name": "kamu_get",
        "description": "Gets.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "limit": {"type": "integer"}, "x": {}},
        },
    },
}
ARGUMENTS = {"city": "é", "limit": 3}
CALL = {"type": "function", "function": {"name": "kamu_get", "arguments": ARGUMENTS}}


@pytest.fixture(scope="module")
def render():
    tokenizer = build_embedded_tokenizer()

    def text(messages, **options):
        return tokenizer.apply_chat_template(messages, tokenize=False, **options)

    text.tokenizer = tokenizer
    return text


def test_turns_stand_between_their_marks(render):
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
        {"role": "tool", "content": "t"},
    ]
    assert render(messages) == (
        "<|system|>\ns<|end|>\n<|user|>\nu<|end|>\n<|assistant|>\na<|end|>\n<|tool|>\nt<|end|>\n"
    )


def test_the_generation_prompt_is_the_start_of_the_answer(render):
    messages = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    prompt = render(messages[:1], add_generation_prompt=True)
    assert prompt == "<|user|>\nu<|end|>\n<|assistant|>\n"
    assert render(messages) == prompt + "a<|end|>\n"


def test_tools_are_one_line_each_in_front_of_the_first_user_text(render):
    messages = [{"role": "user", "content": "u"}, {"role": "user", "content": "v"}]
    assert render(messages, tools=[TOOL, TOOL]) == (
        "<|user|>\n"
        "kamu_get(city: string, limit: integer, x: any)\n"
        "kamu_get(city: string, limit: integer, x: any)\n"
        "u<|end|>\n<|user|>\nv<|end|>\n"
    )


def test_tools_without_a_user_turn_are_a_system_turn(render):
    assert render([{"role": "assistant", "content": "a"}], tools=[TOOL]).startswith(
        "<|system|>\nkamu_get(city: string, limit: integer, x: any)\n<|end|>\n<|assistant|>\n"
    )


def test_calls_are_one_json_object_per_line(render):
    messages = [{"role": "assistant", "content": "", "tool_calls": [CALL, CALL]}]
    line = '{"name": "kamu_get", "arguments": {"city": "é", "limit": 3}}'
    assert render(messages) == f"<|assistant|>\n{line}\n{line}<|end|>\n"


def test_calls_follow_the_content_on_a_line_of_their_own(render):
    flat = {"name": "f", "arguments": '{"a": 1}'}
    messages = [{"role": "assistant", "content": "Now:", "tool_calls": [flat]}]
    assert render(messages) == (
        '<|assistant|>\nNow:\n{"name": "f", "arguments": {"a": 1}}<|end|>\n'
    )


def test_the_assistant_mask_covers_answer_and_end(render):
    messages = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "abc"}]
    encoded = render.tokenizer.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    assert render.tokenizer.decode([index for index, mask in pairs if mask]) == "abc<|end|>"


def test_no_order_of_roles_is_refused(render):
    turns = {
        "system": {"role": "system", "content": "s"},
        "user": {"role": "user", "content": None},
        "assistant": {"role": "assistant", "content": None, "tool_calls": [CALL]},
        "tool": {"role": "tool", "name": "kamu_get", "content": "t"},
        "developer": {"role": "developer", "content": [{"type": "text", "text": "d"}]},
    }
    for roles in itertools.product(turns, repeat=3):
        for tools in (None, [], [TOOL]):
            text = render([turns[role] for role in roles], tools=tools, add_generation_prompt=True)
            assert text.endswith("<|assistant|>\n")
