"""Answers of one model: ours against lm-eval's HF backend, and the scoring of many answers.

The peer runs in an environment of its own that sees this one's torch and transformers, so both
compute with the same libraries. `--peer-python` (or TASKLOOM_LM_EVAL_PYTHON) names a Python that
has lm-eval; without it an environment is made in the cache, which needs a package index.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import site
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from benchmarks.paired import Comparison, Fact, compare, report
from benchmarks.small_tokenizer import WORDS, build_tokenizer
from pipeline.files import cache_root

PEER_PACKAGE = "lm_eval==0.4.13"
PEER_PYTHON = "TASKLOOM_LM_EVAL_PYTHON"
PEER_MODULE = Path(__file__).parent / "lm_eval_peer.py"
BATCH_SIZES = (8, 32, 128)
"""Tried with the peer; the fastest one counts."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}:{{ message.content }}<|im_end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}"
)
NUM_SCORED = 100_000
NEW_TOKENS = 48
PHRASES = [
    f"the {first} {second} of the {third} {fourth}"
    for first, second, third, fourth in zip(WORDS, WORDS[3:], WORDS[5:], WORDS[7:], strict=False)
]


class Peer:
    """lm-eval in a process of its own, with the model loaded."""

    def __init__(self, python: str, model: Path, batch_size: int, threads: int) -> None:
        command = [python, str(PEER_MODULE), str(model), str(batch_size), str(threads)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.version = self._read()["version"]

    def ask(self, kind: str, requests: list) -> tuple[float, list]:
        """Return seconds and answers."""
        self._process.stdin.write(json.dumps({"kind": kind, "requests": requests}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        return answer["seconds"], answer["answers"]

    def _read(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the peer stopped: does --peer-python have lm-eval?")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(30)


def build_model(folder: Path):
    """Save a random Llama of 4 layers and width 192."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer()
    # The peer moves blanks at the end of a prompt into the answer, so the prompt has none.
    tokenizer.chat_template = CHAT_TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.05,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config).eval()
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def set_stop_token(model, tokenizer, task) -> str:
    """Let a token end answers that ends them at different lengths, as in real tasks."""
    from collections import defaultdict

    import numpy as np

    from eval.backends.transformers_backend import TransformersBackend
    from eval.tasks import Asking, build_requests

    backend = TransformersBackend(model, tokenizer, model_name="bench")
    requests = build_requests(task.examples, task.spec, Asking())
    prompts = backend.prompts(requests, max_new_tokens=NEW_TOKENS)
    positions: dict[int, list[int]] = defaultdict(list)
    for batch in backend.batches(prompts, max_new_tokens=NEW_TOKENS):
        for answer in backend.generate(batch, max_new_tokens=NEW_TOKENS):
            ids = tokenizer(answer.text, add_special_tokens=False).input_ids
            for token in set(ids):
                positions[token].append(ids.index(token))

    def mean_length(token: int) -> float:
        return float(
            np.mean(positions[token] + [NEW_TOKENS] * (len(prompts) - len(positions[token])))
        )

    # The limit of a task is half again its longest gold answer; most answers are far shorter.
    # The peer stops at texts, so the token must be one that its text gives back.
    readable = [token for token in positions if "\ufffd" not in tokenizer.decode([token])]
    stop = min(readable, key=lambda token: abs(mean_length(token) - NEW_TOKENS / 3))
    lengths = positions[stop] + [NEW_TOKENS] * (len(prompts) - len(positions[stop]))
    text = tokenizer.decode([stop])
    print(f"answers end at {text!r}: median {np.median(lengths):.0f} of {NEW_TOKENS} tokens")
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, stop]
    return text


def build_task(name: str, labels: tuple[str, ...] | None, num_rows: int, num_words: int):
    from eval.tasks import EvalTask
    from pipeline.types import TaskExample, TaskSpec

    generator = random.Random(name)
    spec = TaskSpec(
        id=f"bench/{name}",
        kind="classification" if labels else "text",
        family="bench",
        instruction="Read the text and answer.",
        labels=labels,
        metrics=("accuracy",) if labels else ("exact_match",),
    )
    rows = [
        TaskExample(
            key=f"bench/{name}/test/{index}",
            task=spec.id,
            split="test",
            inputs={
                "text": " ".join(
                    generator.choices(WORDS, k=generator.randint(num_words // 2, num_words))
                )
            },
            target=labels[0] if labels else "x",
            choices=labels,
        )
        for index in range(num_rows)
    ]
    return EvalTask(spec=spec, examples=rows, max_new_tokens=NEW_TOKENS)


def build_comparison(name, task, model, tokenizer, *, stop, peers, rounds) -> Comparison:
    """Time one task on both sides, and check that both computed the same."""
    from eval.backends.transformers_backend import TransformersBackend
    from eval.tasks import Asking, build_requests

    requests = build_requests(task.examples, task.spec, Asking())
    backend = TransformersBackend(model, tokenizer, model_name="bench")
    prompts = backend.prompts(requests, max_new_tokens=NEW_TOKENS)
    texts = [tokenizer.decode(prompt.input_ids) for prompt in prompts]
    if requests[0].kind == "choices":
        kind, work = "loglikelihood", backend.score_choices
        pairs = [[text, choice] for text in texts for choice in requests[0].choices]
    else:
        kind = "generate_until"
        options = {
            "until": [tokenizer.eos_token, stop],
            "max_gen_toks": NEW_TOKENS,
            "do_sample": False,
        }
        pairs = [[text, options] for text in texts]

        def work(batch):
            return backend.generate(batch, max_new_tokens=NEW_TOKENS)

    def ours() -> list:
        made = backend.prompts(requests, max_new_tokens=NEW_TOKENS)
        batches = backend.batches(made, max_new_tokens=NEW_TOKENS)
        return [answer for batch in batches for answer in work(batch)]

    first = [peer.ask(kind, pairs) for peer in peers]
    best = min(range(len(peers)), key=lambda place: first[place][0])
    agreement = check_same(ours(), first[best][1], prompts)
    found = compare(
        name,
        ours,
        lambda: peers[best].ask(kind, pairs)[0],
        peer=f"lm-eval {peers[best].version} hf, batch {BATCH_SIZES[best]}",
        unit="rows",
        num_items=len(requests),
        rounds=rounds,
    )
    print(f"{name}: {agreement:.1%} of answers equal, {found.ratio:.2f}x", flush=True)
    return found


def check_same(ours, theirs, prompts) -> float:
    """Return the share of rows that both sides answered alike."""
    by_key = {answer.key: answer for answer in ours}
    num_choices = len(prompts[0].choice_ids)
    equal = 0
    for place, prompt in enumerate(prompts):
        answer = by_key[prompt.key]
        if num_choices:
            values = [theirs[place * num_choices + choice][0] for choice in range(num_choices)]
            pairs = zip(values, answer.choice_log_likelihoods, strict=True)
            equal += all(abs(one - other) < 1e-2 for one, other in pairs)
        else:
            equal += answer.text.strip() == theirs[place].strip()
    return equal / len(prompts)


def score_many(task, answers: dict[str, str], folder: Path) -> list[Fact]:
    """Return seconds, and seconds of the processor, for counting and writing all rows."""
    from eval.backends.given_backend import GivenBackend
    from eval.harness import evaluate

    started, busy = time.perf_counter(), time.process_time()
    evaluate(GivenBackend(answers, name="given"), [task], output_folder=folder / task.spec.kind)
    spent = (time.perf_counter() - started, time.process_time() - busy)
    name = f"scoring {len(task.examples):,} answers, {task.spec.kind}"
    return [
        Fact(name, spent[0], "s", at_most=20),
        Fact(f"{name}, of the processor", spent[1], "s"),
    ]


def scored_labels():
    """Return a task with labels, and answers of which a quarter are none."""
    labels = ("yes", "no", "maybe")
    task = build_task("scored", labels, NUM_SCORED, 8)
    generator = random.Random(0)
    return task, {row.key: generator.choice((*labels, "what?")) for row in task.examples}


def scored_entities():
    """Return a task whose F1 over all entities is bootstrapped, and answers with half of them."""
    from eval.tasks import EvalTask
    from pipeline.templates.answers import render_answer
    from pipeline.types import TaskExample, TaskSpec

    generator = random.Random(0)
    spec = TaskSpec(
        id="bench/entities",
        kind="token_classification",
        family="bench",
        instruction="List them.",
        labels=("A", "B"),
        metrics=("entity_f1", "entity_precision", "entity_recall"),
        settings={"scheme": "bio"},
    )
    rows, answers = [], {}
    for index in range(NUM_SCORED):
        tokens = generator.choices(WORDS, k=12)
        places = sorted(generator.sample(range(12), generator.randint(0, 4)))
        entities = [
            {"text": tokens[at], "type": generator.choice("AB"), "start": at, "end": at + 1}
            for at in places
        ]
        key = f"bench/entities/test/{index}"
        rows.append(
            TaskExample(
                key=key, task=spec.id, split="test", inputs={"tokens": tokens}, target=entities
            )
        )
        found = entities[: generator.randint(0, len(entities))]
        answers[key] = render_answer(found, spec)
    return EvalTask(spec=spec, examples=rows), answers


def make_peer() -> str:
    """Return a Python with lm-eval that sees this environment's libraries; kept in the cache."""
    place = cache_root() / "benchmarks" / PEER_PACKAGE.replace("==", "-")
    python = str(place / "bin" / "python")
    if (place / "made").is_file():
        return python
    print(f"installing {PEER_PACKAGE} into {place}")
    venv.create(place, with_pip=True)
    packages = next(place.glob("lib/python*/site-packages"))
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, PEER_PACKAGE], check=True)
    (place / "made").touch()
    return python


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", help="Python that has lm-eval")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments or [])
    many = tuple(PHRASES[:6])
    single = ("yes", "no")
    import torch

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = given.peer_python or os.environ.get(PEER_PYTHON) or make_peer()
        model, tokenizer = build_model(folder / "model")
        tasks = {
            "choices of several tokens": build_task("several", many, 24, 120),
            "choices of one token": build_task("single", single, 64, 120),
            "generation": build_task("generation", None, 96, 60),
        }
        stop = set_stop_token(model, tokenizer, tasks["generation"])
        model.save_pretrained(folder / "model")
        threads = torch.get_num_threads()
        peers = [Peer(python, folder / "model", size, threads) for size in BATCH_SIZES]
        try:
            found = [
                build_comparison(
                    title, task, model, tokenizer, stop=stop, peers=peers, rounds=given.rounds
                )
                for title, task in tasks.items()
            ]
        finally:
            for peer in peers:
                peer.close()
        facts = []
        for build in (scored_labels, scored_entities):
            facts += score_many(*build(), folder)
    report(found, file="eval.json", facts=facts)


if __name__ == "__main__":
    main(sys.argv[1:])
