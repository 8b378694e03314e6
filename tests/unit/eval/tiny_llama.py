"""A random Llama of 2 layers and a byte tokenizer, built in code: real parts, no files."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

CONTROL_TOKENS = ("<pad>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>")

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|{{ message.role }}|>
{% if loop.first and tools %}{{ tools | tojson }}
{% endif %}
{%- if message.tool_calls -%}
{%- for call in message.tool_calls -%}
{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}
{%- if not loop.last %}
{% endif -%}
{%- endfor -%}
{%- else -%}
{{ message.content }}
{%- endif -%}
<|end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>
{% endif -%}"""


def build_tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and control tokens; no training needed."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(CONTROL_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<|end|>",
        chat_template=CHAT_TEMPLATE,
    )


def build_tiny_model(seed: int = 0, **changes: object) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    settings = {
        "vocab_size": 256 + len(CONTROL_TOKENS),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": 0.2,
        "pad_token_id": 256,
        "eos_token_id": 260,
        "bos_token_id": None,
    }
    return LlamaForCausalLM(LlamaConfig(**(settings | changes))).eval()


def build_qwen():
    torch.manual_seed(1)
    config = Qwen3Config(
        vocab_size=261,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        head_dim=16,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        eos_token_id=260,
        pad_token_id=256,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config).eval()


def build_gemma():
    """Its sliding window of 8 is shorter than the prompts, so old keys are dropped."""
    torch.manual_seed(1)
    config = Gemma3TextConfig(
        vocab_size=261,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        head_dim=16,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        initializer_range=0.2,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        eos_token_id=260,
        pad_token_id=256,
        bos_token_id=None,
    )
    return Gemma3ForCausalLM(config).eval()
