"""Answers from an OpenAI-compatible server (vLLM, SGLang, ...), several requests at a time.

Text is asked of `/chat/completions`; the server applies its own chat template. Likelihoods of
choices are asked of `/completions` with `echo`, as token ids from the model's tokenizer here, so
that prompt and choice are cut exactly where a model in this process would cut them. A row without
a usable answer is a counted failure; it is asked again when the evaluation is started again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.backends.base import Prompt, Request
from eval.backends.chat_wire import chat_body, read_chat_answer
from eval.backends.http_client import JsonClient, ServerFailure
from pipeline.errors import EvalError
from pipeline.types import Json, Prediction

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from eval.backends.prompting import PromptBuilder

DEFAULT_CONCURRENCY = 16
DEFAULT_MAX_LENGTH = 4096
_ROWS_PER_WORKER = 8
"""Rows answered between two entries of the journal, per request under way."""

_PROBE_TOKENS = 3


class ServerBackend:
    """A `Backend` that asks a server."""

    neighbours_matter = False

    def __init__(
        self,
        client: JsonClient,
        *,
        model_name: str,
        server_name: str,
        tokenizer: PreTrainedTokenizerBase | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        max_length: int = DEFAULT_MAX_LENGTH,
    ) -> None:
        """Ask `client` for the model called `model_name`.

        Args:
            client: Knows address and key.
            model_name: As the server calls it.
            server_name: Its address; only a fingerprint of it is written down.
            tokenizer: Of the served model; without it no likelihoods can be asked for.
            concurrency: Requests under way at one time.
            max_length: Tokens of prompt and answer that the server takes; only used with the
                tokenizer.
        """
        self._client = client
        self._model_name = model_name
        self._server_sha256 = hashlib.sha256(server_name.encode()).hexdigest()
        self._concurrency = concurrency
        self._max_length = max_length
        self._builder: PromptBuilder | None = None
        if tokenizer is not None:
            from eval.backends.prompting import PromptBuilder

            self._builder = PromptBuilder(tokenizer, max_length=max_length)
        self._has_likelihoods = False

    def describe(self) -> dict[str, Json]:
        """Return the model's name and a fingerprint of the address; never the key."""
        return {
            "backend": "server",
            "model": self._model_name,
            "adapter": None,
            "decoding": "greedy",
            "max_length": self._max_length if self._builder else None,
            "server_sha256": self._server_sha256,
        }

    def longest_gold_answer(self, requests: Sequence[Request]) -> int:
        """Return the tokens of the longest gold answer, 0 without a tokenizer."""
        return 0 if self._builder is None else self._builder.longest_gold_answer(requests)

    def prompts(self, requests: Sequence[Request], *, max_new_tokens: int) -> list[Prompt]:
        """Return the requests with what is sent for them.

        Raises:
            EvalError: Likelihoods are asked for, and the server cannot give them (EVL072).
        """
        scored = [request for request in requests if request.kind == "choices"]
        built: dict[str, Prompt] = {}
        if scored:
            builder = self._check_likelihoods()
            found = builder.build(scored, max_new_tokens=max_new_tokens)
            built = {prompt.key: prompt for prompt in found}
        return [
            built.get(request.conversation.key) or self._chat_prompt(request, max_new_tokens)
            for request in requests
        ]

    def batches(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[list[Prompt]]:
        """Return blocks of one kind; inside a block the requests run side by side."""
        del max_new_tokens
        size = self._concurrency * _ROWS_PER_WORKER
        groups: list[list[Prompt]] = []
        for kind in ("generate", "choices"):
            part = [prompt for prompt in prompts if prompt.request.kind == kind]
            groups += [part[start : start + size] for start in range(0, len(part), size)]
        return groups

    def generate(self, batch: Sequence[Prompt], *, max_new_tokens: int) -> list[Prediction]:
        """Return one greedy answer per prompt; failures are predictions too.

        Raises:
            EvalError: The server cannot be reached for any of them, or refuses the key or the
                model (EVL071).
        """

        def answer(prompt: Prompt) -> Prediction:
            body = self._chat_body(prompt.request, max_new_tokens)
            text, reason = read_chat_answer(self._client.post("/chat/completions", body))
            return Prediction(
                key=prompt.key, text=text, prompt_sha256=prompt.sha256, finish_reason=reason
            )

        return self._side_by_side(answer, batch)

    def score_choices(self, batch: Sequence[Prompt]) -> list[Prediction]:
        """Return the choice of highest summed log-likelihood; failures and errors as `generate`."""

        def answer(prompt: Prompt) -> Prediction:
            context = prompt.input_ids.tolist()
            values = [self._log_likelihood(context, ids) for ids in prompt.choice_ids]
            return Prediction(
                key=prompt.key,
                text=prompt.request.choices[int(np.argmax(values))],
                choice_log_likelihoods=tuple(values),
                prompt_sha256=prompt.sha256,
                finish_reason="choice",
            )

        return self._side_by_side(answer, batch)

    def _side_by_side(
        self, answer: Callable[[Prompt], Prediction], batch: Sequence[Prompt]
    ) -> list[Prediction]:
        def attempt(prompt: Prompt) -> Prediction | ServerFailure:
            if prompt.is_too_long:
                return _no_answer(prompt, reason=None)
            try:
                return answer(prompt)
            except ServerFailure as failure:
                return failure

        with ThreadPoolExecutor(max_workers=self._concurrency) as pool:
            found = list(pool.map(attempt, batch))
        failures = [item for item in found if isinstance(item, ServerFailure)]
        if failures:
            self._check_worth_going_on(failures, len(batch))
        return [
            _no_answer(prompt, reason=item.code) if isinstance(item, ServerFailure) else item
            for prompt, item in zip(batch, found, strict=True)
        ]

    def _check_worth_going_on(self, failures: Sequence[ServerFailure], num_rows: int) -> None:
        """Stop where every further row would fail for the same reason."""
        hopeless = [
            failure
            for failure in failures
            if failure.code == "server_unreachable" or failure.status in {401, 403, 404}
        ]
        if len(hopeless) == num_rows:
            raise EvalError(
                "EVL071",
                f"the server answers no request: {hopeless[0].detail}",
                where=self._model_name,
                hint="Check address, key and model, then start again: answers so far are kept",
            )

    def _chat_body(self, request: Request, max_new_tokens: int) -> dict[str, Json]:
        return chat_body(
            request.conversation, model=self._model_name, max_new_tokens=max_new_tokens
        )

    def _chat_prompt(self, request: Request, max_new_tokens: int) -> Prompt:
        text = json.dumps(self._chat_body(request, max_new_tokens), sort_keys=True)
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        return Prompt(request=request, sha256=digest, input_ids=np.zeros(0, dtype=np.int32))

    def _check_likelihoods(self) -> PromptBuilder:
        """Ask once whether the server tells the likelihood of given tokens.

        Raises:
            EvalError: It does not, or there is no tokenizer (EVL072).
        """
        if self._builder is None:
            raise _no_likelihoods("the tokenizer of the served model is not given")
        if not self._has_likelihoods:
            probe = list(range(1, 1 + _PROBE_TOKENS))
            try:
                self._log_likelihood(probe[:-1], probe[-1:])
            except ServerFailure as failure:
                raise _no_likelihoods(failure.detail) from failure
            self._has_likelihoods = True
        return self._builder

    def _log_likelihood(self, context: Sequence[int], choice: Sequence[int]) -> float:
        """Return the summed log-likelihood (nats) of the choice's tokens after the context."""
        body: dict[str, Json] = {
            "model": self._model_name,
            "prompt": [*context, *choice],
            # Servers refuse 0; the one token that is written is left out below.
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
        }
        values = _token_log_likelihoods(self._client.post("/completions", body))
        start, end = len(context), len(context) + len(choice)
        if len(values) not in {end, end + 1}:
            raise ServerFailure(
                "server_garbage", f"{len(values)} tokens came back for {end}, /completions echo"
            )
        return sum(values[start:end])


def find_model_name(client: JsonClient) -> str:
    """Return the name of the first model that the server serves.

    Raises:
        EvalError: It cannot be asked, or serves none (EVL071).
    """
    try:
        return str(client.get("/models")["data"][0]["id"])
    except ServerFailure as failure:
        reason = failure.detail
    except (KeyError, IndexError, TypeError):
        reason = "/models names no model"
    raise EvalError(
        "EVL071",
        f"the server cannot be asked for its model: {reason}",
        hint="Check the address and the key, or name the model with --served-model",
    )


def _token_log_likelihoods(answer: dict[str, Any]) -> list[float]:
    try:
        found = answer["choices"][0]["logprobs"]["token_logprobs"]
        # The first token follows nothing and has none.
        values = [
            0.0 if place == 0 and value is None else float(value)
            for place, value in enumerate(found)
        ]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        detail = "no log-likelihoods of the prompt's tokens from /completions"
        raise ServerFailure("server_garbage", detail) from error
    if not np.isfinite(values).all():
        raise ServerFailure("server_garbage", "a log-likelihood is no finite number")
    return values


def _no_answer(prompt: Prompt, *, reason: str | None) -> Prediction:
    return Prediction(
        key=prompt.key,
        text="",
        prompt_sha256=prompt.sha256,
        finish_reason="failed" if reason else "length",
        failure=reason,
    )


def _no_likelihoods(reason: str) -> EvalError:
    return EvalError(
        "EVL072",
        f"the server cannot score given answers: {reason}",
        hint="Let it write the answers instead: --request generate",
    )
