"""The system prompt of BFCL's prompting mode.

The sentences are part of the benchmark's protocol and are taken word for word from
`bfcl_eval/constants/default_prompts.py` of bfcl-eval 2026.3.23 (ShishirPatil/gorilla at 6ea5797,
Apache-2.0, see NOTICE). A score is comparable with the leaderboard only under this prompt, or with
the functions given through the model's own chat template.
"""

from __future__ import annotations

import json

from pipeline.types import Json

_PROMPT = (
    "You are an expert in composing functions."
    "You are given a question and a set of possible functions. Based on the question, you will "
    "need to make one or more function/tool calls to achieve the purpose. If none of the functions "
    "can be used, point it out. If the given question lacks the parameters required by the "
    "function, also point it out.\n\n"
    "You should only return the function calls in your response.\n\n"
    "If you decide to invoke any of the function(s), you MUST put it in the format of "
    "[func_name1(params_name1=params_value1, params_name2=params_value2...), "
    "func_name2(params)].  You SHOULD NOT include any other text in the response.\n\n"
    "At each turn, you should try your best to complete the tasks requested by the user within the "
    "current turn. Continue to output functions to call until you have fulfilled the user's "
    "request to the best of your ability. Once you have no more functions to call, the system will "
    "consider the current turn complete and proceed to the next turn or task.\n\n"
    "Here is a list of functions in json format that you can invoke.\n"
)


def prompting_mode(functions: Json) -> str:
    """Return the system prompt that shows `functions`, in BFCL's own form with its hints."""
    return f"{_PROMPT}{json.dumps(functions, indent=4)}\n"
