"""Runs the official evaluator on result files; started with the Python of its own environment.

Imports nothing of this project: `eval.bfcl.official` starts it as a script. The official package
imports the SDK of every vendor for its table of models, so that table is replaced by one with
the single model that is scored; checkers, categories and weights stay as they are.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from typing import Any

_HANDLERS = {
    "python_call": ("qwen", "QwenHandler"),
    "hermes": ("qwen_fc", "QwenFCHandler"),
    "json_list": ("hammer", "HammerHandler"),
    "xlam_json": ("salesforce_qwen", "SalesforceQwenHandler"),
    "granite": ("granite", "GraniteFunctionCallingHandler"),
}
_LOCAL = "bfcl_eval.model_handler.local_inference"


def main() -> None:
    """Score `BFCL_PROJECT_ROOT/result/<model>` into `BFCL_PROJECT_ROOT/score`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--format", required=True, choices=list(_HANDLERS))
    parser.add_argument("--underscore-to-dot", action="store_true")
    parser.add_argument("--categories", nargs="+", required=True)
    parser.add_argument("--partial", action="store_true")
    arguments = parser.parse_args()
    table: dict[str, Any] = {}
    models: Any = types.ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = table
    sys.modules[models.__name__] = models
    table[arguments.model] = types.SimpleNamespace(
        model_name=arguments.model,
        display_name=arguments.model,
        url="",
        org="",
        license="",
        model_handler=_load_handler(arguments.format),
        input_price=None,
        output_price=None,
        is_fc_model=arguments.format != "python_call",
        underscore_to_dot=arguments.underscore_to_dot,
    )
    runner = importlib.import_module("bfcl_eval.eval_checker.eval_runner")
    folder = arguments.model.replace("/", "_")
    root = importlib.import_module("bfcl_eval.constants.eval_config").PROJECT_ROOT
    runner.runner(
        [folder], arguments.categories, root / "result", root / "score", arguments.partial
    )


def _load_handler(name: str) -> type:
    """Return the handler that decodes a format; its inference parts are never used."""
    decoding = importlib.import_module("bfcl_eval.model_handler.utils")

    class OSSHandler:
        def __init__(self, **settings: object) -> None:
            self.settings = settings

        def decode_ast(self, result: str, language: object, has_tool_call_tag: bool) -> object:
            return decoding.default_decode_ast_prompting(result, language, has_tool_call_tag)

        def decode_execute(self, result: str, has_tool_call_tag: bool) -> object:
            return decoding.default_decode_execute_prompting(result, has_tool_call_tag)

    # Overriding is checked against the real base class, which starts servers and is not here.
    overrides: Any = types.ModuleType("overrides")
    overrides.override = overrides.final = lambda function: function
    overrides.EnforceOverrides = object
    sys.modules["overrides"] = overrides
    base: Any = types.ModuleType(f"{_LOCAL}.base_oss_handler")
    base.OSSHandler = OSSHandler
    sys.modules[base.__name__] = base
    module, class_name = _HANDLERS[name]
    official = getattr(importlib.import_module(f"{_LOCAL}.{module}"), class_name)
    return type(class_name, (official,), {"__init__": OSSHandler.__init__})


if __name__ == "__main__":
    main()
