"""A Llama start in which copying from the context works before the first training step.

From ordinary random weights, in-context copying takes far more steps than a quickstart has. Here
the first two layers of an otherwise normal Llama start as the circuit that training would have to
find: layer 0 writes the identity of the previous tokens into parts of the residual stream that the
embeddings leave nearly empty, and layer 1 attends to where the same tokens stood before and copies
what came next. All weights stay trainable.

Source of the circuit: "In-context Learning and Induction Heads", transformer-circuits.pub, 2022.
"""

# H hidden size, D head size, S rows of a block, V vocabulary.

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

FAST_PLANE = 0.02
"""Rotary planes that turn by more radians per token tell offsets; the slower ones tell content."""
OFFSET_SHARPNESS = 9.0
CONTENT_SHARPNESS = 2.4
QUIET = 0.05
"""Scale of everything that is not part of the circuit, so as not to disturb it."""
COPY_STRENGTH = 1.0
KEPT_OF_CONTEXT_BLOCKS = 0.2


@torch.no_grad()
def apply_structured_start(model: LlamaForCausalLM, *, num_offsets: int = 2, seed: int = 0) -> None:
    """Overwrite the first two attention layers (and scale others) of a fresh model in place.

    Args:
        model: Llama with `attention_bias=True`, at least two layers, tied embeddings.
        num_offsets: How many previous tokens layer 0 makes visible, 1 to the number of heads.
        seed: Start of the random projections.

    Raises:
        ValueError: The model has no attention bias or too few layers.
    """
    config = model.config
    if not config.attention_bias or config.num_hidden_layers < 2:
        raise ValueError("a structured start needs attention_bias=True and two layers")
    generator = torch.Generator().manual_seed(seed)
    blocks = _orthogonal_blocks(config.hidden_size, num_offsets, generator)
    embeddings_VH = model.get_input_embeddings().weight
    std = float(embeddings_VH.std())
    for block_SH in blocks[1 : num_offsets + 1]:
        embeddings_VH -= (1 - KEPT_OF_CONTEXT_BLOCKS) * (embeddings_VH @ block_SH.T) @ block_SH
    layers = model.model.layers
    for layer in layers:
        layer.mlp.down_proj.weight *= QUIET
        layer.self_attn.o_proj.weight *= QUIET
    frequencies = _rotary_frequencies(model)
    _start_offset_heads(layers[0].self_attn, blocks, frequencies, std)
    _start_matching_heads(layers[1].self_attn, blocks, frequencies, generator)


def _orthogonal_blocks(
    hidden_size: int, num_offsets: int, generator: torch.Generator
) -> list[Tensor]:
    """Return disjoint row blocks of a random rotation: identity, one per offset, then the rest."""
    matrix_HH = torch.randn(hidden_size, hidden_size, generator=generator)
    rotation_HH = torch.linalg.qr(matrix_HH).Q
    return list(rotation_HH.split(hidden_size // (num_offsets + 2)))


def _rotary_frequencies(model: LlamaForCausalLM) -> Tensor:
    frequencies: Tensor = model.model.rotary_emb.inv_freq
    return frequencies


def _start_offset_heads(
    attention: LlamaAttention, blocks: list[Tensor], frequencies: Tensor, std: float
) -> None:
    """Make head `h` attend `h + 1` tokens back and write that token's identity to its block."""
    head_size = attention.head_dim
    fast = (frequencies > FAST_PLANE).float() * OFFSET_SHARPNESS
    attention.q_proj.weight *= 0.1
    attention.k_proj.weight *= 0.1
    identity_SH, *context_blocks = blocks
    num_offsets = len(blocks) - 2
    for head, context_SH in enumerate(context_blocks[:num_offsets]):
        rows = slice(head * head_size, (head + 1) * head_size)
        turn = frequencies * (head + 1)
        # Rotary embedding pairs dimension i with i + D/2; key j turned by `offset` more than it
        # stands meets the query that stands `offset` later.
        attention.q_proj.bias[rows] = torch.cat([fast, torch.zeros_like(fast)])
        attention.k_proj.bias[rows] = torch.cat([fast * turn.cos(), fast * turn.sin()])
        _set_value_path(attention, head, identity_SH, 1.5 * std * context_SH)


def _start_matching_heads(
    attention: LlamaAttention, blocks: list[Tensor], frequencies: Tensor, generator: torch.Generator
) -> None:
    """Make every head attend to what followed earlier copies of the current token, and copy it."""
    num_heads = attention.config.num_attention_heads
    head_size = attention.head_dim
    identity_SH, *context_blocks = blocks
    num_offsets = len(blocks) - 2
    slow = (frequencies <= FAST_PLANE).float().repeat(2).unsqueeze(1)
    for head in range(num_heads):
        rows = slice(head * head_size, (head + 1) * head_size)
        query = torch.zeros(head_size, identity_SH.shape[1])
        key = torch.zeros_like(query)
        query_blocks = [identity_SH, *context_blocks]
        for depth in range(1 + head % 2 * (num_offsets - 1)):
            size = len(identity_SH)
            mix = torch.randn(head_size, size, generator=generator) * slow / slow.sum().sqrt()
            strength = CONTENT_SHARPNESS * (1.0 if depth == 0 else 0.6)
            query += strength * mix @ query_blocks[depth]
            key += strength * mix @ context_blocks[depth]
        attention.q_proj.weight[rows] = query
        attention.k_proj.weight[rows] = key
        copied_SH = identity_SH if head % 2 == 0 else blocks[-1]
        _set_value_path(attention, head, copied_SH, COPY_STRENGTH * copied_SH)


def _set_value_path(
    attention: LlamaAttention, head: int, read_SH: Tensor, write_SH: Tensor
) -> None:
    """Let one head read `read_SH` of what it attends to and write it along `write_SH`."""
    head_size = attention.head_dim
    size = min(head_size, len(read_SH), len(write_SH))
    start = head * head_size
    attention.v_proj.weight[start : start + head_size] = 0
    attention.v_proj.weight[start : start + size] = read_SH[:size]
    attention.o_proj.weight[:, start : start + head_size] = 0
    attention.o_proj.weight[:, start : start + size] = write_SH[:size].T
