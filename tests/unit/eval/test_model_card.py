"""The card of an adapter: what it tells, and what it never tells."""

import json

import pytest

from eval.backends.given_backend import GivenBackend
from eval.harness import evaluate
from eval.model_card import build_card, without_secrets
from eval.tasks import EvalTask
from pipeline.annotations.catalogue import load_catalogue
from pipeline.errors import EvalError
from pipeline.types import TaskExample, TaskSpec

CATALOGUE = load_catalogue()

KEYS = (
    "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "sk-proj-abcdefghijklmnopqrstuvwxyz012345",
    "sk-ant-REDACTED",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "gho_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0abcdefghijklmnopqrstuvwxyz",
    "glpat-abcdefghij0123456789",
    "xoxb-123456789012-abcdefghijkl",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAw",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz012",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc",
    "Bearer abcdefghijklmnop0123456789",
    "Authorization: Basic dXNlcjpwYXNzd29yZA==",
    "password=hunter2hunter2",
    "api_key: 0123456789abcdef",
    "WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567",
    "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "token=abcdef0123456789",
    "sk_live_abcdefghijklmnop0123",
    "https://user:hunter2pass@host.example/path",
    "postgres://admin:hunter2pass@db/prod",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
    "/home/alice/models/base",
    "/root/.cache/huggingface/token",
    "~/private/model",
    "C:\\Users\\alice\\model",
    "/mnt/nfs/team/alice/run",
    "/data/secret-project/rows.jsonl",
)
TELLTALES = (
    "AbCdEfGh", "abcdefghij", "IOSFODNN", "ABCDEFG0", "123456789012", "AgEIcHlw", "SyA-abc",
    "hbGciOi", "dXNlcjp", "hunter2", "0123456789abcdef", "wJalrX", "MIIEpA", "alice", ".cache",
    "~/private", "nfs", "secret-project", "abcdef0123456789",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_git(monkeypatch):
    """The environment is not read by the card, and asking git for it takes time."""
    monkeypatch.setattr("eval.harness.describe_environment", dict)


def write_run(folder, *, text="plain", tasks=("ncbi_disease",)):
    folder.mkdir(parents=True)
    listed = [
        {"task": task, "num_examples": 100, "epochs": 1.5, "loss_share": 0.25, "note": text}
        for task in tasks
    ]
    (folder / "data_report.json").write_text(json.dumps({"tasks": listed, "warnings": [text]}))
    (folder / "environment.json").write_text(json.dumps({"variables": text}))
    for name in ("base", "adapter"):
        spec = TaskSpec(
            id=text,
            kind="classification",
            family="f",
            instruction=text,
            labels=("yes", "no"),
            metrics=("accuracy",),
        )
        row = TaskExample(
            key=f"{text}/test/0",
            task=text,
            split="test",
            inputs={"text": text},
            target="yes",
            choices=("yes", "no"),
        )
        task = EvalTask(spec=spec, examples=[row], source=text, majority_answer="no")
        answers = {row.key: "yes" if name == "adapter" else "no"}
        evaluate(GivenBackend(answers, name=text), [task], output_folder=folder / "eval" / name)
    return folder


def card_of(folder, *, text="plain", tasks=("ncbi_disease",)):
    recipe = {
        "run_name": text,
        "model_name_or_path": text,
        "adapter": {"type": "lora"},
        "lora_r": 16,
        "output_dir": text,
        "data_root": text,
    }
    return build_card(folder, recipe, [CATALOGUE.get(task) for task in tasks])


def test_scores_of_an_adapter_fitted_to_test_prompts_say_so(tmp_path):
    write_run(tmp_path / "run")
    assert "Transductive" not in card_of(tmp_path / "run")
    path = tmp_path / "run" / "eval" / "adapter" / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "transductive": True}))
    assert "**Transductive**: fitted to test prompts" in card_of(tmp_path / "run")


def test_the_card_tells_data_licences_scores_and_limits(tmp_path):
    tasks = ("ncbi_disease", "bc5cdr", "xlam_60k/calls")
    card = card_of(write_run(tmp_path / "run", tasks=tasks), tasks=tasks)
    for task in tasks:
        annotation = CATALOGUE.get(task)
        assert f"| {task} | {annotation.source.hub}" in card
        assert annotation.source.licence in card
    assert "| plain | accuracy | test | 1 | 0.0 ± 0.0 | 0.0 ± 0.0 | 100.0 ± 0.0 | 0 |" in card
    assert "- `lora_r`: 16" in card
    assert "Not for medical decisions." in card
    assert "must be checked before anything runs them" in card


def test_licences_that_forbid_commercial_use_are_named_at_the_top(tmp_path):
    forbidden = next(item.id for item in CATALOGUE if item.source.commercial == "no")
    allowed = next(item.id for item in CATALOGUE if item.source.commercial == "yes")
    unknown = next(item.id for item in CATALOGUE if item.source.commercial == "unknown")
    tasks = (allowed, forbidden, unknown)
    card = card_of(write_run(tmp_path / "run", tasks=tasks), tasks=tasks)
    head = card[: card.index("## Data")]
    assert (
        f"**Not for commercial use.** The licences of these tasks' data forbid it: {forbidden}."
        in head
    )
    assert f"allow it: {unknown}." in head
    plain = card_of(write_run(tmp_path / "other", tasks=(allowed,)), tasks=(allowed,))
    assert "commercial use.**" not in plain


@pytest.mark.parametrize("secret", KEYS, ids=range(len(KEYS)))
def test_no_secret_and_no_folder_of_this_machine_is_in_the_card(tmp_path, secret):
    card = card_of(write_run(tmp_path / "run", text=secret), text=secret)
    assert secret not in card
    assert not [word for word in TELLTALES if word in card]
    assert str(tmp_path) not in card


def test_at_least_thirty_secrets_are_planted():
    assert len(KEYS) >= 30


def test_what_is_no_secret_stays():
    text = "owner/name@0123456789abcdef, a/b/c, 1/2, and/or, https://host/path, 5e-4, gue/emp_H3"
    assert without_secrets(text) == text


def test_names_cannot_leave_their_cell_or_become_markup(tmp_path):
    name = "a|b<script>`x`\n# heading"
    card = card_of(write_run(tmp_path / "run", text=name))
    assert "<script>" not in card
    assert "\n# heading" not in card


def test_a_run_without_a_data_report_has_no_card(tmp_path):
    with pytest.raises(EvalError, match="EVL080"):
        card_of(tmp_path)
    (tmp_path / "data_report.json").write_text("[]")
    with pytest.raises(EvalError, match="EVL080"):
        card_of(tmp_path)
