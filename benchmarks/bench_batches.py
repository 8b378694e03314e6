"""Render, tokenise and pack against TRL's own preparation; memory, start and cost of batches."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from benchmarks.mixture_costs import first_batch, memory, share_of_step
from benchmarks.paired import Comparison, compare, report
from benchmarks.small_tokenizer import WORDS, build_tokenizer

NUM_CONVERSATIONS = 4000
MAX_LENGTH = 2048
CHUNK = 512


def build_texts() -> list[tuple[str, str]]:
    generator = random.Random(0)
    return [
        (
            "Classify the review.\nText: "
            + " ".join(generator.choices(WORDS, k=generator.randint(20, 120)))
            + "\nOptions: yes, no",
            generator.choice(["yes", "no"]),
        )
        for _ in range(NUM_CONVERSATIONS)
    ]


def against_trl() -> Comparison:
    from datasets import Dataset, disable_caching, disable_progress_bars
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    from pipeline.chat.tokenise import ExampleTooLong, tokenise_many
    from pipeline.mixture.packing import pack_lengths
    from pipeline.types import Conversation, Message

    disable_caching()
    disable_progress_bars()
    tokenizer, texts = build_tokenizer(), build_texts()
    conversations = [
        Conversation(
            key=f"bench/train/{index}",
            task="bench",
            messages=(
                Message(role="user", content=prompt),
                Message(role="assistant", content=answer, trainable=True),
            ),
        )
        for index, (prompt, answer) in enumerate(texts)
    ]
    rows = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": prompt}],
                "completion": [{"role": "assistant", "content": answer}],
            }
            for prompt, answer in texts
        ]
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config)

    def ours() -> None:
        lengths: list[int] = []
        for start in range(0, len(conversations), CHUNK):
            chunk = conversations[start : start + CHUNK]
            made = tokenise_many(chunk, tokenizer, task_index=0, max_length=MAX_LENGTH)
            lengths += [len(item) for item in made if not isinstance(item, ExampleTooLong)]
        assert len(lengths) == NUM_CONVERSATIONS
        assert pack_lengths(lengths, MAX_LENGTH)

    num_tokens = sum(
        len(item)
        for item in tokenise_many(conversations, tokenizer, task_index=0, max_length=MAX_LENGTH)
        if not isinstance(item, ExampleTooLong)
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=str(Path(folder) / "out"),
            packing=True,
            max_length=MAX_LENGTH,
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
        )

        def theirs() -> None:
            SFTTrainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)

        comparison = compare(
            "render, tokenise and pack",
            ours,
            theirs,
            peer="TRL SFTTrainer's preparation",
            unit="tokens",
            num_items=num_tokens,
            rounds=3,
        )
    return comparison


def main() -> None:
    facts = [*memory(), *first_batch(), *share_of_step()]
    report([against_trl()], file="batches.json", facts=facts)
