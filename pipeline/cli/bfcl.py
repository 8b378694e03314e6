"""`taskloom bfcl`: the Berkeley Function-Calling Leaderboard on files, ours and official."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.shared import settings_of, stderr, stdout
from pipeline.errors import EvalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eval.backends.base import Backend
    from eval.bfcl.data import BfclData
    from eval.bfcl.result_files import CategoryScore

app = typer.Typer(no_args_is_help=True)

ModelName = Annotated[str, typer.Option("--model", help="Name on the leaderboard, without '_'.")]
OutputFormat = Annotated[
    str,
    typer.Option(
        "--format",
        help="How calls are written: python_call, hermes, json_list, xlam_json, granite.",
    ),
]
UnderscoreToDot = Annotated[
    bool,
    typer.Option(
        "--underscore-to-dot", help="The model's function names have _ where BFCL's have ."
    ),
]
PythonPath = Annotated[
    Path | None, typer.Option(help="Python with bfcl-eval; unset makes an environment once.")
]


@app.callback()
def group() -> None:
    """Berkeley Function-Calling Leaderboard: answers in its official files, judged and scored.

    Examples:
        taskloom bfcl results runs/mine/eval/adapter/samples.jsonl results --model mine
        taskloom --data-root /data/mirror bfcl score results --model mine --format hermes
    """


@app.command()
def verdicts(
    context: typer.Context,
    predictions: Annotated[Path, typer.Argument(help="JSON lines of model outputs.")],
    out: Annotated[Path, typer.Argument(help="JSON lines file to write.")],
) -> None:
    """Judge model outputs as the official checker does, without running any of them.

    Reads {row, category, id, format, underscore_to_dot, model_output} per line, writes
    {row, verdict, error_type}. The questions come from --data-root.

    Examples:
        taskloom --data-root /data/mirror bfcl verdicts outputs.jsonl verdicts.jsonl
    """
    from eval.bfcl.verdicts import verdicts_file
    from pipeline.sources.data_root import resolve_data_root

    data_root = resolve_data_root(settings_of(context).data_root)
    summary = verdicts_file(predictions, out, data_root)
    stderr.print(str(summary), soft_wrap=True)


@app.command(name="results")
def write_result_files(
    context: typer.Context,
    samples: Annotated[Path, typer.Argument(help="samples.jsonl of an evaluated run.")],
    out: Annotated[Path, typer.Argument(help="Folder to write, in the official layout.")],
    *,
    model: ModelName,
    raw: Annotated[
        bool, typer.Option("--raw", help="Texts as written, instead of parsed calls as JSON lists.")
    ] = False,
) -> None:
    """Write a run's answers as official result files, {"id", "result"} per line.

    Parsed calls are written as JSON lists, to be scored with --format json_list; answers that
    did not parse stay as they are.

    Examples:
        taskloom --data-root /data/mirror bfcl results samples.jsonl out --model me/a
    """
    from eval.bfcl.result_files import results_of_samples, write_results

    data = _data(context)
    results = results_of_samples(samples, data, use_calls=not raw)
    for path in write_results(out, model, results):
        stdout.print(str(path), soft_wrap=True)
    missing = sum(len(data.entries(name)) - len(rows) for name, rows in results.items())
    if missing:
        stderr.print(
            f"{missing} rows have no answer and are left out; they count as wrong", soft_wrap=True
        )


@app.command(name="score")
def score_result_files(
    context: typer.Context,
    results: Annotated[Path, typer.Argument(help="Folder in the official layout.")],
    *,
    model: ModelName,
    output_format: OutputFormat = "json_list",
    underscore_to_dot: UnderscoreToDot = False,
    python: PythonPath = None,
) -> None:
    """Score official result files with our checker: categories, sections and the overall.

    Conversations of several turns, where there are, run on the official simulated APIs.

    Examples:
        taskloom --data-root /data/mirror bfcl score result --model me/a --format hermes
    """
    scores = _our_scores(
        _data(context),
        results,
        model,
        output_format=output_format,
        underscore_to_dot=underscore_to_dot,
        python=python,
    )
    missing = sum(score.num_missing for score in scores.values())
    _print_row({name: score.accuracy for name, score in scores.items()})
    stdout.print(f"Results were read as {output_format}.")
    holding = [score.holds_calls for score in scores.values() if score.holds_calls is not None]
    if holding and not any(holding):
        stderr.print(
            f"no result holds a call in the format {output_format}: is it the right --format?",
            soft_wrap=True,
        )
    if missing:
        stderr.print(f"{missing} rows have no result and count as wrong", soft_wrap=True)


def _our_scores(
    data: BfclData,
    results: Path,
    model: str,
    *,
    output_format: str,
    underscore_to_dot: bool,
    python: Path | None,
) -> dict[str, CategoryScore]:
    from eval.bfcl.multi_turn import score_conversations
    from eval.bfcl.official import ensure_environment
    from eval.bfcl.result_files import read_conversations, read_results, score_results
    from eval.bfcl.simulator import Simulator

    scores = score_results(
        read_results(results, model),
        data,
        output_format=output_format,
        underscore_to_dot=underscore_to_dot,
    )
    conversations = read_conversations(results, model)
    if conversations:
        with Simulator(python or ensure_environment()) as simulator:
            scores |= score_conversations(
                conversations, data.data_root, simulator, output_format=output_format
            )
    return scores


@app.command()
def official(
    context: typer.Context,
    results: Annotated[Path, typer.Argument(help="Folder in the official layout.")],
    scores: Annotated[Path, typer.Argument(help="Folder for the official score files.")],
    *,
    model: ModelName,
    output_format: OutputFormat = "json_list",
    underscore_to_dot: UnderscoreToDot = False,
    python: PythonPath = None,
) -> None:
    """Score official result files with the official evaluator, in its own environment.

    Every category with a result file is scored; its file must hold all rows. The numbers are
    printed beside those of our checker, which must agree.

    Examples:
        taskloom --data-root /data/mirror bfcl official result score --model me/a --format hermes
    """
    from eval.bfcl.official import read_overall, run_official

    ours = _our_scores(
        _data(context),
        results,
        model,
        output_format=output_format,
        underscore_to_dot=underscore_to_dot,
        python=python,
    )
    with stderr.status("The official evaluator is running"):
        accuracies = run_official(
            results,
            scores,
            model=model,
            categories=list(ours),
            output_format=output_format,
            underscore_to_dot=underscore_to_dot,
            python=python,
        )
    _print_row(accuracies)
    overall = read_overall(scores)
    stdout.print(f"Overall Acc of data_overall.csv: {overall.get('Overall Acc', 'absent')}")
    different = [name for name, value in accuracies.items() if value != ours[name].accuracy]
    if different:
        raise EvalError(
            "BFC113",
            f"our checker gives another accuracy in {', '.join(different)}",
            where=scores,
            hint="Believe the official number, and report the outputs that differ",
        )
    stdout.print("Our checker gives the same accuracies.")


@app.command()
def converse(
    context: typer.Context,
    model_path: Annotated[str, typer.Argument(help="'embedded', a model folder or a hub id.")],
    out: Annotated[Path, typer.Argument(help="Folder to write, in the official layout.")],
    *,
    model: ModelName,
    adapter: Annotated[Path | None, typer.Option(help="Adapter folder on top of it.")] = None,
    categories: Annotated[
        str, typer.Option(help="Categories with commas between; all four when left out.")
    ] = "multi_turn_base,multi_turn_miss_func,multi_turn_miss_param,multi_turn_long_context",
    max_rows: Annotated[
        int | None, typer.Option(min=1, help="The first rows of each only.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Limit of one answer.")] = 512,
    output_format: Annotated[
        str, typer.Option("--format", help="How calls are read: any, or a format of `score`.")
    ] = "any",
    prompting: Annotated[
        bool,
        typer.Option(
            "--prompting", help="Functions in the official system prompt, not the chat template."
        ),
    ] = False,
    python: PythonPath = None,
) -> None:
    """Drive a model through the conversations of several turns and score them.

    The calls run on the official simulated APIs, in the evaluator's own environment.

    Examples:
        taskloom --data-root /data/mirror bfcl converse Qwen/Qwen3-0.6B result --model me/a
    """
    from eval.bfcl.multi_turn import check_dialogue, converse, load_dialogues
    from eval.bfcl.official import ensure_environment
    from eval.bfcl.result_files import check_model_name, write_results
    from eval.bfcl.simulator import Simulator
    from eval.progress import RichProgress

    check_model_name(model)
    data = _data(context)
    names = categories.split(",")
    dialogues = {name: load_dialogues(data.data_root, name)[:max_rows] for name in names}
    backend = _load_backend(model_path, adapter)
    accuracies = {}
    with Simulator(python or ensure_environment()) as simulator, RichProgress(stderr) as progress:
        for name, rows in dialogues.items():
            progress.start(name, len(rows))
            answers = converse(
                rows,
                backend,
                simulator,
                output_format=output_format,
                is_prompting=prompting,
                max_new_tokens=max_new_tokens,
                on_over=partial(progress.advance, name),
            )
            write_results(out, model, {name: answers})
            errors = [
                check_dialogue(row, answers[row.id], simulator, output_format=output_format)
                for row in rows
            ]
            accuracies[name] = errors.count(None) / len(rows)
            progress.finish(name, f"{accuracies[name]:.1%}")
    _print_row(accuracies, {name: len(rows) for name, rows in dialogues.items()})
    if max_rows is not None:
        stderr.print(f"Only the first {max_rows} rows of each category were run", soft_wrap=True)


def _load_backend(model_path: str, adapter: Path | None) -> Backend:
    from eval.backends.transformers_backend import TransformersBackend
    from pipeline.adapters.registry import load_adapter
    from pipeline.models.loading import current_device, load_model, load_tokenizer, resolve_model
    from pipeline.models.quiet import quiet_libraries

    quiet_libraries()
    source = resolve_model(model_path)
    model = load_model(source, device=current_device())
    adapted = model if adapter is None else load_adapter(model, adapter)
    adapted.eval()
    return TransformersBackend(adapted, load_tokenizer(source), model_name=model_path)


def _data(context: typer.Context) -> BfclData:
    from eval.bfcl.data import FOLDER, BfclData
    from pipeline.sources.data_root import resolve_data_root

    data_root = resolve_data_root(settings_of(context).data_root)
    if data_root is None:
        raise EvalError(
            "BFC104", "BFCL needs a data root", where="--data-root", hint=f"The folder of {FOLDER}"
        )
    return BfclData(data_root)


def print_benchmark_row(folder: Path) -> None:
    """Print the leaderboard row of an evaluated run.

    Nothing where it has no category, or generated rows, which are no benchmark.

    Args:
        folder: Folder of the results.
    """
    from eval.bfcl.categories import CATEGORIES
    from eval.results import read_results

    results = read_results(folder)
    if results["data_root_kind"] == "embedded":
        return
    # A user's own task may have the benchmark's checker too, but is none of its categories.
    rows = {
        category: task
        for name, task in results["tasks"].items()
        if task["settings"].get("checker") == "bfcl"
        and (category := name.rpartition("/")[2]) in CATEGORIES
    }
    if rows:
        accuracies = {
            name: task["metrics"][task["headline"]]["value"] for name, task in rows.items()
        }
        _print_row(accuracies, {name: task["num_rows"] for name, task in rows.items()})
        formats = {task.get("decoding", {}).get("calls_read_as", "any") for task in rows.values()}
        stdout.print(f"Answers were read as {', '.join(sorted(formats))}.")
        if "any" in formats:
            stdout.print("That is each by its own signs, which no official handler does.")


def _print_row(accuracies: Mapping[str, float], num_rows: Mapping[str, int] | None = None) -> None:
    """Print categories, then sections with what is missing in each.

    Args:
        accuracies: By category.
        num_rows: Rows that were scored, where they may be fewer than the category has.
    """
    from rich.table import Table

    from eval.bfcl.aggregate import SECTION_WEIGHTS, section_scores
    from eval.bfcl.categories import DATA_VERSION, find_category

    table = Table(title=f"BFCL v4, {DATA_VERSION}")
    for name in ("category", "rows", "accuracy", "weight", "not run"):
        table.add_column(name, justify="left" if name in ("category", "not run") else "right")
    counts = {name: find_category(name).num_rows for name in accuracies} | dict(num_rows or {})
    for name, value in accuracies.items():
        all_rows = find_category(name).num_rows
        shown = str(all_rows) if counts[name] == all_rows else f"{counts[name]} of {all_rows}"
        table.add_row(name, shown, f"{value:.2%}", "", "")
    table.add_section()
    sections = section_scores(accuracies, counts)
    for name, section in sections.items():
        weight = f"{SECTION_WEIGHTS[name]:.0%}" if name in SECTION_WEIGHTS else ""
        missing = ", ".join(section.missing) if name != "overall" else ""
        table.add_row(name, "", f"{section.accuracy:.2%}", weight, missing)
    stdout.print(table)
    if sections["overall"].missing:
        stdout.print("Categories that were not run count as 0, as on the leaderboard.")
