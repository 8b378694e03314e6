"""Write official BFCL verdicts on mutated model outputs, as an oracle for `eval.bfcl`.

The official evaluator's dependencies clash with this project's, so the script runs in an
environment of its own and imports nothing from this project:

    python3.11 -m venv /tmp/bfcl
    /tmp/bfcl/bin/pip install --no-deps bfcl-eval==2026.3.23 tree_sitter==0.21.3 \
        tree-sitter-java==0.21.0 tree-sitter-javascript==0.21.4 filelock tenacity python-dotenv tqdm
    /tmp/bfcl/bin/python scripts/make_bfcl_golden.py --data-root DATA --out-folder tests/golden

`bfcl_verdicts.jsonl` gets one output with its verdict per line; `bfcl_rows.jsonl` the functions
(without descriptions) and answers of the rows used. The evaluator evaluates arithmetic in a
model's text with `eval`; the outputs here are made by this script and hold constants only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bfcl_foreign_outputs import make_foreign_output, right_call
from bfcl_spellings import respell

CATEGORIES = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "irrelevance",
    "live_irrelevance",
    "live_relevance",
)
FOREIGN = {"simple_java": "java", "simple_javascript": "javascript"}
FORMATS = ("python_call", "hermes", "json_list", "xlam_json", "granite")
FOLDER = "gorilla-llm/Berkeley-Function-Calling-Leaderboard"
CRASH = "checker_error:official_crash"

Row = dict[str, Any]
Calls = list[list[Any]]
"""Name and argument dict of each call."""
Value = Any
"""A JSON value, or a tuple."""


class Code(str):
    """Python source that stands for a value in a rendered call."""


# --- the official evaluator ------------------------------------------------------------------


def load_handlers() -> Row:
    """Return the official handler of each format, without a model behind it."""
    os.environ["BFCL_PROJECT_ROOT"] = tempfile.mkdtemp()
    config = types.ModuleType("bfcl_eval.constants.model_config")
    config.MODEL_CONFIG_MAPPING = {
        "plain": types.SimpleNamespace(underscore_to_dot=False),
        "dotted": types.SimpleNamespace(underscore_to_dot=True),
    }
    sys.modules[config.__name__] = config
    overrides = types.ModuleType("overrides")
    overrides.override = overrides.final = lambda function: function
    overrides.EnforceOverrides = object
    sys.modules["overrides"] = overrides
    sys.modules["pandas"] = types.ModuleType("pandas")
    sys.modules["numpy"] = types.ModuleType("numpy")
    from bfcl_eval.model_handler import utils

    class OSSHandler:
        def decode_ast(self, result: str, language: Value, has_tool_call_tag: bool) -> Value:
            return utils.default_decode_ast_prompting(result, language, has_tool_call_tag)

        def decode_execute(self, result: str, has_tool_call_tag: bool) -> Value:
            return utils.default_decode_execute_prompting(result, has_tool_call_tag)

    base = types.ModuleType("bfcl_eval.model_handler.local_inference.base_oss_handler")
    base.OSSHandler = OSSHandler
    sys.modules[base.__name__] = base
    from bfcl_eval.model_handler.local_inference.granite import GraniteFunctionCallingHandler
    from bfcl_eval.model_handler.local_inference.hammer import HammerHandler
    from bfcl_eval.model_handler.local_inference.qwen import QwenHandler
    from bfcl_eval.model_handler.local_inference.qwen_fc import QwenFCHandler
    from bfcl_eval.model_handler.local_inference.salesforce_qwen import SalesforceQwenHandler

    classes = {
        "python_call": QwenHandler,
        "hermes": QwenFCHandler,
        "json_list": HammerHandler,
        "xlam_json": SalesforceQwenHandler,
        "granite": GraniteFunctionCallingHandler,
    }
    return {name: object.__new__(handler) for name, handler in classes.items()}


def load_official() -> Callable[[Row, Row], tuple[bool, str | None]]:
    """Return a function of an output row and its question row: verdict and error type."""
    handlers = load_handlers()
    from bfcl_eval.constants.enums import Language, ReturnFormat
    from bfcl_eval.eval_checker import eval_runner

    languages = dict.fromkeys(CATEGORIES, (Language.PYTHON, ReturnFormat.PYTHON))
    languages["simple_java"] = (Language.JAVA, ReturnFormat.JAVA)
    languages["simple_javascript"] = (Language.JAVASCRIPT, ReturnFormat.JAVASCRIPT)

    def evaluate(row: Row, entry: Row) -> tuple[bool, str | None]:
        handler = handlers[row["format"]]
        model = "dotted" if row["underscore_to_dot"] else "plain"
        prompt = {"function": entry["function"]}
        if "relevance" in row["category"]:
            result = eval_runner._evaluate_single_relevance_entry(
                handler, row["id"], row["model_output"], prompt, model, row["category"]
            )
            return result["valid"], result.get("error_type")
        try:
            result = eval_runner._evaluate_single_ast_entry(
                handler,
                row["id"],
                row["model_output"],
                entry["ground_truth"],
                prompt,
                model,
                row["category"],
                language=languages[row["category"]][0],
                return_format=languages[row["category"]][1],
            )
        except Exception:
            return False, CRASH
        return result["valid"], result.get("error_type")

    return evaluate


# --- right answers and what is done to them --------------------------------------------------


def load_rows(data_root: Path, category: str) -> list[Row]:
    folder = data_root / FOLDER
    name = f"BFCL_v4_{category}.json"
    rows = [json.loads(line) for line in (folder / name).read_text().splitlines() if line.strip()]
    if "relevance" in category:
        return [{**row, "ground_truth": []} for row in rows]
    lines = (folder / "possible_answer" / name).read_text().splitlines()
    answers = [json.loads(line) for line in lines if line.strip()]
    return [
        {**row, "ground_truth": answer["ground_truth"]}
        for row, answer in zip(rows, answers, strict=True)
    ]


def pick(rng: random.Random, option: Value) -> Value:
    """Choose one value from the nested option lists of an answer."""
    if isinstance(option, dict):
        chosen = {}
        for key, options in option.items():
            value = pick(rng, rng.choice(options)) if isinstance(options, list) else options
            if value != "" or rng.random() < 0.3:
                chosen[key] = value
        return chosen
    if isinstance(option, list):
        return [pick(rng, item) for item in option]
    return option


def right_calls(rng: random.Random, entry: Row) -> Calls:
    calls = []
    for answer in entry["ground_truth"]:
        ((name, parameters),) = answer.items()
        arguments = {}
        for parameter, options in parameters.items():
            option = rng.choice(options) if options else None
            if option == "" and rng.random() < 0.9:
                continue
            arguments[parameter] = pick(rng, option)
        calls.append([name, arguments])
    if not calls:
        spec = rng.choice(entry["function"]) if entry["function"] else {"name": "not_needed"}
        properties = spec.get("parameters", {}).get("properties", {})
        calls = [[spec["name"], {name: rng.choice([1, "x", True, None]) for name in properties}]]
    return calls


def change_text(rng: random.Random, text: str) -> str:
    middle = rng.randrange(len(text) + 1)
    mark = rng.choice([*" ,./-_*^'\"\n\t:!()&é", "  ", "x"])
    return rng.choice(
        [
            text.upper(),
            text.lower(),
            text[:middle] + mark + text[middle:],
            text.replace(" ", ""),
            text.replace(" ", "_"),
            text.replace("'", '"'),
            f" {text}",
            text + rng.choice([".", ",", "\n", "\t", "!"]),
            text[:-1],
            "",
        ]
    )


def change_value(rng: random.Random, value: Value) -> Value:
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice([None, "", [], {}, 0, 1, 1.0, True, "x", [1], [[]], {"a": 1}, 10**400])
    if kind == 1:
        return [value]
    if isinstance(value, bool):
        return rng.choice([not value, int(value), str(value), float(value)])
    if isinstance(value, int) and abs(value) < 2**60:
        return rng.choice([value + 1, float(value), str(value), -value, value + 0.5, bool(value)])
    if isinstance(value, float):
        return rng.choice([value + 1e-9, int(value), str(value), -value, value * 2])
    if isinstance(value, str):
        return rng.choice([change_text(rng, value)] * 4 + [len(value), [value], {value: value}])
    if isinstance(value, list):
        return change_list(rng, value)
    if isinstance(value, dict):
        return change_dict(rng, value)
    return "changed"


def change_list(rng: random.Random, value: list[Value]) -> Value:
    if not value:
        return rng.choice([[""], [1], "", ()])
    index = rng.randrange(len(value))
    changed = [*value[:index], change_value(rng, value[index]), *value[index + 1 :]]
    return rng.choice(
        [
            changed,
            changed,
            changed,
            value[::-1],
            value + value[-1:],
            value[:-1],
            tuple(value),
            tuple(value),
            tuple(changed),
            str(value),
            [],
            [float(item) if isinstance(item, int) else item for item in value],
        ]
    )


def change_dict(rng: random.Random, value: dict[str, Value]) -> Value:
    if not value:
        return rng.choice([{"a": 1}, [], None])
    key = rng.choice(list(value))
    rest = {name: item for name, item in value.items() if name != key}
    return rng.choice(
        [
            rest,
            {**value, key: change_value(rng, value[key])},
            {**value, key: change_value(rng, value[key])},
            {**value, "extra": 1},
            {**rest, key.upper(): value[key]},
            dict(reversed(value.items())),
            {key: {"nested": value[key]}},
            [value],
            {},
        ]
    )


def change_calls(rng: random.Random, calls: Calls, entry: Row) -> Calls:
    """Change the list of calls, a name or an argument in place of the right one."""
    calls = [[name, dict(arguments)] for name, arguments in calls]
    specs = {spec["name"]: spec for spec in entry["function"]}
    call = rng.choice(calls)
    kind = rng.randrange(14)
    if kind == 0:
        calls.remove(call)
    elif kind == 1:
        calls.append([call[0], dict(call[1])])
    elif kind == 2:
        rng.shuffle(calls)
    elif kind == 3:
        names = [*specs, call[0].replace(".", "_"), call[0].replace("_", "."), call[0].lower()]
        call[0] = rng.choice([*names, call[0] + "s", "other.function"])
    elif kind == 4 and call[1]:
        del call[1][rng.choice(list(call[1]))]
    elif kind == 5:
        call[1][rng.choice(["extra", "Query", "x"])] = 1
    elif kind == 6 and call[0] in specs:
        declared = specs[call[0]]["parameters"]["properties"]
        for name in list(declared)[:8]:
            call[1].setdefault(name, declared[name].get("default", "unexpected"))
    elif kind == 7:
        call[1] = dict(reversed(call[1].items()))
    elif call[1]:
        containers = [key for key, value in call[1].items() if isinstance(value, list | dict)]
        name = rng.choice((containers if rng.random() < 0.6 else None) or list(call[1]))
        call[1][name] = change_value(rng, call[1][name])
    return calls


# --- texts -----------------------------------------------------------------------------------


def split_list(text: str) -> list[str]:
    """Split at `|`; line ends do not count, `⏎` stands for one."""
    return text.replace("\n", "").removesuffix("|").replace("⏎", "\n").split("|")


ODD_VALUES = split_list("""
0x1F|1_000|2 + 3|10 / 4|7 // 2|2 ** 10|"a" + "b"|"ab" * 2|[1] * 3|"%s" % "x"|1 << 4|6 & 3|
5 - 7.5|-5|+5|--5|not True|~5|-True|-"x"|- 2.5|true|false|null|none|None|True|Ellipsis|...|word|
Enum.X|f"text"|{1, 2}|[x for x in y]|(1, 2)|()|(1)|b"bytes"|1j|1e999|"a" "b"|'single'|r"\\d"|
"\\d"|lambda: 1|items[0]|items["a"]|items[1:2]|inner(1)|inner()|inner(a=1)|inner(1, a=2)|
a.b.inner(c=[1])|{"a": {"b": 1}}|{1: 2}|{[1]: 2}|{**x}|{"a": 1, "a": 2}|{word: 1}|[*x]|
x if y else z|1 < 2|a or b|await x|(y := 1)|"\\ud83d\\ude00"|[[1, 2], [3]]|[]|{}|1 / 0|"a" - 1|
[1] + [2]|(1, 2) + (3,)|2 ** -1|-x|+x|1 + x|{"k": -1}|[+1]|[1 + 1]|1.0|1.|.5|1e3|00|0o17|0b11|
1if 1else 2|'it\\'s'|1 is 1|-1 + 2|2 @ 3|
""")

PROSE = split_list("""
I cannot help with that.|Sure, here is the call:|None|no_function|[]|{}|[{}]||not_needed()|
[not_needed()]|The answer is 42.|error: timeout|[f]|f|f(|f)|[f(a=1)|f(a=1)]|[f(a=1);]|f(1)|
f(*x)|f(**{'a': 1})|[f(a=1), 2]|[[f(a=1)]]|f(a=1) + g(b=2)|f(a=1)(b=2)|(f)(a=1)|f[0](a=1)|
f(a=1).g(b=2)|print('x')|5|"text"|null|true|<tool_call></tool_call>|<tool_call>⏎⏎</tool_call>|
<function_call>|;|{"name": "f"}|[1]|[null]|\u200b|f(a=1) # comment|[x][0](a=1) # ]|[f(a=1)] # done|
f(a=1)⏎g(b=2)|f(a=1), g(b=2)|'[f(a=1)]'|	f(a=1)|{f(a=1), g(b=2)}|f(a=1) if x else g(b=2)|
lambda: f(a=1)|x = f(a=1)|async f(a=1)|f(a=1,a=2)|f(a=)|
""")


def render_python(rng: random.Random, calls: Calls) -> str:
    def show(value: Value) -> str:
        return str(value) if isinstance(value, Code) else repr(value)

    texts = [
        f"{name}({', '.join(f'{key}={show(value)}' for key, value in arguments.items())})"
        for name, arguments in calls
    ]
    joined = rng.choice([", ", ", ", ",", ",\n", ",\n    "]).join(texts)
    text = f"[{joined}]"
    if rng.random() < 0.75:
        return text
    return rng.choice(
        [
            joined,
            text[:-1],
            text[1:],
            f"```{text}```",
            f"```\n{text}\n```",
            f"```python\n{text}\n```",
            f"Here: {text}",
            f"{text} Done.",
            f"{text}\n# done",
            f"<think>\n\n</think>\n\n{text}",
            f"'{text}'",
            f"[{joined},]",
            "; ".join(texts),
            "\n".join(texts),
            f" \t{text}\n",
            text.replace("=", " = ", 1),
            text.replace("(", "('x', ", 1),
            text.replace("(", "(**{'a': 1}, ", 1),
            text.replace("(", "(*x, ", 1),
            text.replace("'", "\u2019", 2),
            text.replace("'", "", 2),
            text.replace("True", "true").replace("False", "false").replace("None", "null"),
            f"[{text}]",
            text + text,
            text[: len(text) // 2],
        ]
    )


def render_json_calls(rng: random.Random, calls: Calls) -> list[Row]:
    objects = [{"name": name, "arguments": arguments} for name, arguments in calls]
    if objects and rng.random() < 0.15:
        item = rng.choice(objects)
        kind = rng.randrange(8)
        if kind == 0:
            item["parameters"] = item.pop("arguments")
        elif kind == 1:
            item["arguments"] = json.dumps(item["arguments"])
        elif kind == 2:
            item["arguments"] = rng.choice([None, [], "x", 1, {}])
        elif kind == 3:
            item["name"] = rng.choice([None, 1, ["f"], {"a": 1}, "", " " + str(item["name"]) + " "])
        elif kind == 4:
            del item[rng.choice(list(item))]
        elif kind == 5:
            item["extra"] = 1
        elif kind == 6:
            item["name"] = "no_function"
        else:
            item["arguments"]["nan"] = float("nan")
    return objects


def render_format(rng: random.Random, name: str, objects: list[Row]) -> str:
    texts = [json.dumps(item, ensure_ascii=rng.random() < 0.5) for item in objects]
    if rng.random() < 0.1 and texts:
        index = rng.randrange(len(texts))
        texts[index] = rng.choice(
            [texts[index][:-1], str(objects[index]), "text", "[1]", "5", f"[{texts[index]}]"]
        )
    odd = rng.random() < 0.25
    if name == "hermes":
        block = rng.choice(["<tool_call>{}</tool_call>", "<tool_call>\n{}", "{}"]) if odd else ""
        block = block or "<tool_call>\n{}\n</tool_call>"
        text = rng.choice(["\n", "\n", ""]).join(block.replace("{}", item) for item in texts)
    elif name == "granite":
        text = rng.choice([" ", "\n", ""]).join(f"<function_call> {item}" for item in texts)
        text = text.removeprefix("<function_call> ") if odd else text
    elif name == "xlam_json" and odd:
        text = rng.choice(["; ", ";", "\n"]).join(texts)
    else:
        text = f"[{', '.join(texts)}]"
    if not odd or rng.random() < 0.5:
        return text
    return rng.choice(
        [
            f"```{text}```",
            f"```json\n{text}\n```",
            f"I call: {text}",
            f"{text}<|endoftext|>",
            f"{text}\nDone.",
            text.replace("}]", "},]"),
            text[: len(text) // 2],
            text.replace('"', "'"),
            f"<think>a</think>\n{text}",
            texts[0] if texts else "",
        ]
    )


def make_output(rng: random.Random, entry: Row, format_name: str) -> str:
    if rng.random() < (0.3 if not entry["ground_truth"] else 0.02):
        return rng.choice(PROSE)
    calls = right_calls(rng, entry)
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        if calls:
            calls = change_calls(rng, calls, entry)
    if format_name == "python_call":
        if rng.random() < 0.25 and calls:
            arguments = rng.choice(calls)[1]
            name = rng.choice([*arguments, "odd"])
            arguments[name] = Code(rng.choice(ODD_VALUES))
        return render_python(rng, calls)
    return render_format(rng, format_name, render_json_calls(rng, calls))


def make_row(rng: random.Random, category: str, entry: Row) -> Row:
    format_name = rng.choice(["python_call", "python_call", *FORMATS])
    language = FOREIGN.get(category, "python")
    if rng.random() < 0.5:
        calls = [[*right_call(rng, entry, language)]] if category in FOREIGN else None
        calls = calls or right_calls(rng, entry)
        if language == "python" and rng.random() < 0.25:
            calls = change_calls(rng, calls, entry)
        output = respell(rng, calls, format_name, language)
    elif language == "python":
        output = make_output(rng, entry, format_name)
    else:
        render = None if format_name == "python_call" else partial(render_format, rng, format_name)
        output = make_foreign_output(rng, entry, language, render)
    underscored = rng.random() < 0.25
    if underscored and rng.random() < 0.7:
        for spec in entry["function"]:
            output = output.replace(spec["name"], spec["name"].replace(".", "_"))
    return {
        "category": category,
        "id": entry["id"],
        "format": format_name,
        "underscore_to_dot": underscored,
        "model_output": output,
    }


# --- files -----------------------------------------------------------------------------------


def choose_entries(rng: random.Random, entries: list[Row], count: int) -> list[Row]:
    """Choose rows, half of them among those with lists or dicts in their answers."""
    nested = [entry for entry in entries if "[[" in json.dumps(entry["ground_truth"])]
    nested += [entry for entry in entries if "[{" in json.dumps(entry["ground_truth"])[1:]]
    chosen = rng.sample(nested, min(count // 2, len(nested)))
    ids = {entry["id"] for entry in chosen}
    chosen = [entry for entry in entries if entry["id"] in ids]
    rest = [entry for entry in entries if entry["id"] not in ids]
    return chosen + rng.sample(rest, min(count - len(chosen), len(rest)))


def without_descriptions(value: Value) -> Value:
    if isinstance(value, dict):
        return {
            key: without_descriptions(item)
            for key, item in value.items()
            if not (key == "description" and isinstance(item, str))
        }
    return [without_descriptions(item) for item in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out-folder", type=Path, required=True)
    parser.add_argument("--rows-per-category", type=int, default=24)
    parser.add_argument("--outputs-per-row", type=int, default=13)
    parser.add_argument("--max-row-bytes", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    evaluate = load_official()
    with contextlib.ExitStack() as stack:
        verdicts, rows = (
            stack.enter_context((arguments.out_folder / name).open("w", encoding="utf-8"))
            for name in ("bfcl_verdicts.jsonl", "bfcl_rows.jsonl")
        )
        number = 0
        for category in CATEGORIES:
            entries = load_rows(arguments.data_root, category)
            small = [
                entry
                for entry in entries
                if len(json.dumps(without_descriptions(entry["function"])))
                <= arguments.max_row_bytes
            ]
            for entry in choose_entries(rng, small, arguments.rows_per_category):
                functions = without_descriptions(entry["function"])
                row = {"category": category, "id": entry["id"], "functions": functions}
                row["ground_truth"] = entry["ground_truth"]
                rows.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
                for _ in range(arguments.outputs_per_row):
                    row = {"row": number, **make_row(rng, category, entry)}
                    row["verdict"], row["error_type"] = evaluate(row, entry)
                    number += 1
                    verdicts.write(json.dumps(row, separators=(",", ":")) + "\n")
    print(f"{number} verdicts")


if __name__ == "__main__":
    main()
