"""`taskloom show` and `taskloom export`: look at what a model would read, before any training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Group
from rich.panel import Panel
from rich.progress import track
from rich.text import Text

from pipeline.cli.shared import (
    Settings,
    catalogue_of,
    settings_of,
    split_of,
    stderr,
    stdout,
)
from pipeline.files import open_atomic
from pipeline.templates.styles import render_conversation
from pipeline.types import Conversation, Examples, Json, Message, TaskExample, TaskSpec

if TYPE_CHECKING:
    from typing import IO

PROMPT_STYLE = "cyan"
ANSWER_STYLE = "bold black on green"


def show(
    context: typer.Context,
    *,
    task: Annotated[str, typer.Argument(help="Task id, see `taskloom list`.")],
    num_examples: Annotated[int, typer.Option("-n", min=1, help="Examples to show.")] = 3,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    style: Annotated[str, typer.Option(help="Name of the wording.")] = "plain",
    model: Annotated[
        str | None,
        typer.Option(help="Show tokens of this model: 'embedded', a local folder or a hub id."),
    ] = None,
    max_length: Annotated[
        int, typer.Option(min=8, help="With --model: tokens beyond this are cut from the context.")
    ] = 2048,
    golden: Annotated[
        bool, typer.Option(help="Show the annotation's own golden rows: needs no data.")
    ] = False,
) -> None:
    """Show rendered prompts and answers; what is trained on stands on green.

    Examples:
        taskloom --data-root embedded show ncbi_disease
        taskloom show gue/emp_H3 --golden
        taskloom --data-root /data/mirror show codah --model Qwen/Qwen3-0.6B -n 1
    """
    examples, spec = _examples(settings_of(context), task, split, golden=golden)
    for example in islice(examples, num_examples):
        conversation = render_conversation(example, spec, style=style)
        body = (
            _segments(conversation)
            if model is None
            else _tokens(conversation, model, max_length=max_length)
        )
        stdout.print(Panel(body, title=example.key, title_align="left", border_style="dim"))


def _examples(
    settings: Settings, task: str, split: str, *, golden: bool
) -> tuple[Iterator[TaskExample], TaskSpec]:
    from pipeline.examples.cache import load_examples
    from pipeline.examples.golden import golden_examples
    from pipeline.sources.data_root import resolve_data_root

    annotation = catalogue_of(settings).get(task)
    if golden:
        return iter(golden_examples(annotation)), annotation.spec()
    data_root = resolve_data_root(settings.data_root)
    examples: Examples = load_examples(annotation, split_of(split), data_root=data_root)
    return iter(examples), examples.spec


def _segments(conversation: Conversation) -> Group:
    """Return the turns as text, without any tokenizer."""
    parts = [Text(_tool_line(tool.name, tool.parameters), "dim") for tool in conversation.tools]
    for message in conversation.messages:
        style = ANSWER_STYLE if message.trainable else PROMPT_STYLE
        parts.append(Text.assemble((f"{message.role}: ", "dim"), (_message_text(message), style)))
    return Group(*parts)


def _tool_line(name: str, parameters: dict[str, Json]) -> str:
    properties = cast("dict[str, Json]", parameters.get("properties", {}))
    return f"{name}({', '.join(properties)})"


def _message_text(message: Message) -> str:
    calls = [
        json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
        for call in message.tool_calls
    ]
    return "\n".join([*([message.content] if message.content else []), *calls])


def _tokens(conversation: Conversation, model: str, *, max_length: int) -> Text:
    """Return the tokens a model sees, on green where the loss is taken."""
    from pipeline.chat.tokenise import tokenise_conversation
    from pipeline.models.loading import load_tokenizer

    tokenizer = load_tokenizer(model)
    tokenized = tokenise_conversation(conversation, tokenizer, task_index=0, max_length=max_length)
    text = Text()
    for token_id, is_trained in zip(tokenized.input_ids, tokenized.loss_mask, strict=True):
        piece = tokenizer.decode([int(token_id)])
        text.append(piece, ANSWER_STYLE if is_trained else PROMPT_STYLE)
        text.append("\N{MIDDLE DOT}", "dim")
    counts = f"{len(tokenized)} tokens, {int(tokenized.loss_mask.sum())} trained on"
    cut = f", {tokenized.num_truncated} cut" if tokenized.num_truncated else ""
    text.append(f"\n{counts}{cut}", "dim")
    return text


def export(
    context: typer.Context,
    *,
    task: Annotated[str, typer.Argument(help="Task id, see `taskloom list`.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")],
    out: Annotated[Path, typer.Option(help="JSON lines file to write.")],
    style: Annotated[str, typer.Option(help="Name of the wording.")] = "plain",
) -> None:
    """Write normalised examples, one JSON object per line.

    Keys: key, task, split, inputs, target, choices, prompt, completion, tools.

    Examples:
        taskloom --data-root /data/mirror export ncbi_disease --split test --out ncbi.jsonl
    """
    from pipeline.examples.cache import load_examples
    from pipeline.sources.data_root import resolve_data_root

    settings = settings_of(context)
    annotation = catalogue_of(settings).get(task)
    data_root = resolve_data_root(settings.data_root)
    examples = load_examples(annotation, split_of(split), data_root=data_root)
    with open_atomic(out) as stream:
        for example in track(examples, f"export {task}", len(examples), console=stderr):
            line = json.dumps(_exported(example, examples.spec, style), ensure_ascii=False)
            cast("IO[str]", stream).write(line + "\n")
    stderr.print(f"{len(examples)} examples -> {out}", soft_wrap=True)


def _exported(example: TaskExample, spec: TaskSpec, style: str) -> dict[str, Json]:
    conversation = render_conversation(example, spec, style=style)
    prompt = "\n".join(message.content for message in conversation.messages[:-1])
    answer = conversation.messages[-1]
    tools: list[Json] = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        for tool in conversation.tools
    ]
    return {
        "key": example.key,
        "task": example.task,
        "split": example.split,
        "inputs": example.inputs,
        "target": example.target,
        "choices": list(example.choices) if example.choices is not None else None,
        "prompt": prompt,
        "completion": _message_text(answer),
        "tools": tools,
    }
