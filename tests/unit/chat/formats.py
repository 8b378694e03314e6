"""Small tokenizers with the chat formats that open models use, built without any download.

Each differs from the others in what matters here: how the text is cut, whether control tokens
are entries of the model's own vocabulary, what the template trims, and how it shows functions.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

CORPUS = [
    "The quick brown fox jumps over the lazy dog. What is the capital of Norway? Oslo.",
    "Classify the review as positive or negative.\nText: a warm, funny film\nOptions: yes, no",
    "Name every disease in the sentence. None of them had fever, but one had asthma.",
    '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3, "unit": "celsius"}}',
    "user assistant system model Sample text 1. Sample text 2. Sample text 3. Be brief. Hello!",
    "A gene is a part of DNA; ACGT are its letters. 1 2 3 4 5 6 7 8 9 0 (one, two) [three]",
] * 4

CHATML = """{%- if tools %}{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n<tools>' }}{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}{{- '<|im_start|>assistant' }}
{%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{{- '<|im_end|>\\n' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

LLAMA3 = """{{- bos_token }}{%- for message in messages %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
{%- if tools and loop.first %}{{- 'Functions: ' + tools | tojson + '\\n\\n' }}{%- endif %}
{%- if message.tool_calls %}
{%- if message.tool_calls | length != 1 %}{{- raise_exception('One call only') }}{%- endif %}
{%- set call = message.tool_calls[0].function %}
{{- '{"name": "' + call.name + '", "parameters": ' }}{{- call.arguments | tojson }}{{- '}' }}
{%- elif message.role == 'tool' %}{{- message.content | tojson }}
{%- else %}{{- message.content | trim }}{%- endif %}{{- '<|eot_id|>' }}{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Roles must alternate') }}{% endif %}
{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""
GEMMA = GEMMA.replace("%}\n{%", "%}{%").replace("%}\n{{", "%}{{").replace("}}\n{%", "}}{%")

ZEPHYR = """{% for message in messages %}
{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token }}
{% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}
{% endfor %}"""

MISTRAL = """{{- bos_token }}{%- for message in messages %}
{%- if message.role == 'user' %}{{- '[INST] ' + message.content + ' [/INST]' }}
{%- elif message.role == 'assistant' %}
{%- if message.tool_calls %}{{- '[TOOL_CALLS] [' }}{%- for call in message.tool_calls %}
{%- if call.id | length != 9 %}{{- raise_exception('Call ids have nine letters') }}{%- endif %}
{{- '{"name": "' + call.function.name + '", "arguments": ' }}
{%- if call.function.arguments is not string %}{{- raise_exception('Text only') }}{%- endif %}
{{- call.function.arguments + '}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}
{{- ']' + eos_token }}
{%- else %}{{- ' ' + message.content + eos_token }}{%- endif %}
{%- else %}{{- raise_exception('Only user and assistant') }}{%- endif %}{%- endfor %}"""

EMBEDDED = """{%- set shown = namespace(tools=false) %}
{%- for message in messages %}{{- '<|' + message.role + '|>\\n' }}
{%- if tools and message.role == 'user' and not shown.tools %}{%- set shown.tools = true %}
{%- for tool in tools %}{{- tool.function | tojson + '\\n' }}{%- endfor %}{%- endif %}
{{- message.content }}
{%- for call in message.tool_calls or [] %}
{{- '{"name": ' + call.function.name | tojson + ', "arguments": ' }}
{{- call.function.arguments | tojson + '}' }}{%- if not loop.last %}{{- '\\n' }}{%- endif %}
{%- endfor %}{{- '<|end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}"""

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(controls: list[str], *, in_vocabulary: bool = False, gpt2: bool = False):
    backend = Tokenizer(models.BPE(ignore_merges=in_vocabulary))
    if gpt2:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=controls if in_vocabulary else [],
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.add_special_tokens([AddedToken(text, special=True) for text in controls])
    return backend


def _sentence_pieces(controls: list[str], prefix: str) -> Tokenizer:
    """Byte-fallback BPE whose control tokens are entries of the vocabulary."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", *controls], show_progress=False
    )
    # As sentencepiece does: lines are cut first, so no piece holds a line break.
    lines = [line.replace(" ", "▁") for text in CORPUS for line in text.split("\n")]
    backend.train_from_iterator(lines, trainer)
    settings = json.loads(backend.to_str())
    vocabulary = settings["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    settings["model"] |= {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
    backend = Tokenizer.from_str(json.dumps(settings))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix == "every":
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    elif prefix == "first":
        backend.normalizer = None
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(steps)
    return backend


def _wrap(backend: Tokenizer, template: str, **tokens: str) -> PreTrainedTokenizerBase:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)
    tokenizer.chat_template = template
    return tokenizer


def _chatml() -> PreTrainedTokenizerBase:
    backend = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    marks = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>"]
    backend.add_tokens([AddedToken(text, special=False, normalized=False) for text in marks])
    return _wrap(backend, CHATML, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _llama3() -> PreTrainedTokenizerBase:
    controls = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>"]
    controls += ["<|end_header_id|>", "<|eot_id|>"]
    backend = _byte_level(controls, in_vocabulary=True)
    return _wrap(backend, LLAMA3, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def _gemma() -> PreTrainedTokenizerBase:
    controls = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    backend = _sentence_pieces(controls, prefix="never")
    backend.add_tokens([AddedToken("<h1>", special=False, normalized=False)])
    return _wrap(
        backend, GEMMA, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def _zephyr() -> PreTrainedTokenizerBase:
    backend = _sentence_pieces(["<s>", "</s>"], prefix="every")
    return _wrap(backend, ZEPHYR, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _mistral() -> PreTrainedTokenizerBase:
    controls = ["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"]
    backend = _sentence_pieces(controls, prefix="first")
    return _wrap(backend, MISTRAL, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _embedded() -> PreTrainedTokenizerBase:
    controls = ["<|pad|>", "<|user|>", "<|assistant|>", "<|system|>", "<|tool|>", "<|end|>"]
    backend = _byte_level(controls, gpt2=True)
    return _wrap(backend, EMBEDDED, eos_token="<|end|>", pad_token="<|pad|>")


FORMATS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "chatml": functools.cache(_chatml),
    "llama3": functools.cache(_llama3),
    "gemma": functools.cache(_gemma),
    "zephyr": functools.cache(_zephyr),
    "mistral": functools.cache(_mistral),
    "embedded": functools.cache(_embedded),
}
TOOL_FORMATS = ("chatml", "llama3", "embedded")
"""Formats whose template shows function descriptions."""
