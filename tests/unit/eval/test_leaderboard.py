"""The leaderboard as data, tables and page; foreign text stays text everywhere."""

import base64
import csv
import hashlib
import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from eval.backends.given_backend import GivenBackend
from eval.harness import evaluate
from eval.leaderboard import (
    build_leaderboard,
    leaderboard_csv,
    leaderboard_table,
    write_leaderboard,
)
from eval.leaderboard.differences import build_differences
from eval.leaderboard.markup import Html, element, joined
from eval.leaderboard.page import content_policy
from eval.leaderboard.references import load_references
from eval.leaderboard.text import harmless
from eval.tasks import EvalTask
from pipeline.errors import EvalError
from pipeline.templates.pictures import digit_codes
from pipeline.types import TaskExample, TaskSpec


class NamedBackend(GivenBackend):
    def __init__(self, answers, **about):
        super().__init__(answers, name="given")
        self.about = about

    def describe(self):
        return {**super().describe(), **self.about}


def make_task(
    name="fam/topic", labels=("yes", "no"), targets=("yes", "no", "yes", "yes"), text="t"
):
    spec = TaskSpec(
        id=name,
        kind="classification",
        family=name.split("/")[0],
        instruction="Say.",
        labels=labels,
        metrics=("accuracy", "macro_f1"),
    )
    rows = [
        TaskExample(
            key=f"{name}/test/{i}",
            task=name,
            split="test",
            inputs={"text": text},
            target=target,
            choices=labels,
        )
        for i, target in enumerate(targets)
    ]
    return EvalTask(spec=spec, examples=rows, majority_answer=labels[0], source="generated")


def run(folder, tasks, answer, *, kind="hub", **about):
    answers = {row.key: answer for task in tasks for row in task.examples}
    facts = {"backend": "transformers", "model": "embedded", "adapter": None} | about
    facts.setdefault("weights_sha256", hashlib.sha256(str(folder).encode()).hexdigest())
    evaluate(NamedBackend(answers, **facts), tasks, output_folder=folder, data_root_kind=kind)
    return folder


@pytest.fixture
def two_runs(tmp_path):
    tasks = [make_task(), make_task("fam/other"), make_task("dna/site")]
    return [
        run(tmp_path / "base", tasks, "no", kind="embedded"),
        run(tmp_path / "adapter", tasks, "yes", kind="embedded", adapter="/home/me/runs/my-lora"),
    ]


def test_rows_are_baseline_then_base_then_adapter(two_runs):
    board = build_leaderboard(two_runs[::-1])
    assert [(run.kind, run.name) for run in board.runs] == [
        ("majority", "Majority answer"),
        ("base", "embedded"),
        ("adapter", "my-lora"),
    ]
    assert [run.cells["fam/topic"].value for run in board.runs] == [0.75, 0.25, 0.75]
    assert board.families == ("fam", "dna")


def test_means_are_unweighted_and_their_errors_add_in_squares(two_runs):
    board = build_leaderboard(two_runs)
    base = board.runs[1]
    cell = base.cells["fam/topic"]
    mean = board.mean(base)
    assert mean.value == 0.25
    assert mean.standard_error == pytest.approx(cell.standard_error / 3**0.5)
    assert board.mean(base, "fam").standard_error == pytest.approx(cell.standard_error / 2**0.5)


def test_a_run_without_a_task_has_no_mean(tmp_path):
    first = run(tmp_path / "a", [make_task(), make_task("fam/other")], "yes")
    second = run(tmp_path / "b", [make_task()], "no")
    board = build_leaderboard([first, second])
    assert board.mean(board.runs[-1]) is None
    assert "-" in render(board)


def test_models_that_share_no_task_have_no_mean_and_the_page_says_so(tmp_path):
    folders = [run(tmp_path / name, [make_task(f"fam/{name}")], "yes", model=name) for name in "ab"]
    page = write_leaderboard(build_leaderboard(folders), tmp_path / "out").read_text()
    assert "there is no mean over all" in page
    assert 'class="card"' not in page
    assert "Worst task and transfer" not in page


def test_runs_on_other_rows_are_marked(tmp_path):
    first = run(tmp_path / "a", [make_task()], "yes")
    second = run(tmp_path / "b", [make_task(targets=("yes", "no"))], "no")
    board = build_leaderboard([first, second])
    assert not board.runs[-1].cells["fam/topic"].is_comparable
    assert any("†" in note for note in board.notes)
    assert "†" in render(board)


def test_the_same_model_twice_is_one_row(tmp_path):
    folders = [
        run(tmp_path / name, [make_task()], "yes", weights_sha256="ab") for name in ("a", "b")
    ]
    assert [run.kind for run in build_leaderboard(folders).runs] == ["majority", "base"]


def test_different_models_of_one_name_are_told_apart(tmp_path):
    folders = [run(tmp_path / name, [make_task()], "yes") for name in ("a", "b")]
    names = [run.name for run in build_leaderboard(folders).runs]
    assert names == ["Majority answer", "embedded", "embedded (2)"]


def test_generated_data_is_told_everywhere(two_runs, tmp_path):
    board = build_leaderboard(two_runs)
    assert "generated data" in render(board)
    page = write_leaderboard(board, tmp_path / "out").read_text()
    assert "Generated data." in page
    assert ">generated data<" in page
    assert (
        json.loads((tmp_path / "out/leaderboard.json").read_text())["runs"][1]["data_root_kind"]
        == "embedded"
    )
    assert ",embedded," in (tmp_path / "out/leaderboard.csv").read_text()


def test_public_data_is_not_called_generated(tmp_path):
    board = build_leaderboard([run(tmp_path / "a", [make_task()], "yes", kind="mirror")])
    page = write_leaderboard(board, tmp_path / "out").read_text()
    assert "enerated data" not in page
    assert "local mirror" in page


def test_the_table_names_value_error_and_rows(two_runs):
    text = render(build_leaderboard(two_runs))
    for part in ("fam/topic", "accuracy", "75.0 ± 25.0", "25.0 ± 25.0", "my-lora", "mean over"):
        assert part in text


def test_the_csv_is_read_back_with_full_digits(two_runs):
    rows = list(csv.DictReader(io.StringIO(leaderboard_csv(build_leaderboard(two_runs)))))
    assert [row["kind"] for row in rows] == ["majority", "base", "adapter"]
    assert float(rows[1]["fam/topic/accuracy"]) == 0.25
    assert rows[1]["fam/topic/accuracy_num_rows"] == "4"
    assert float(rows[2]["dna/mean"]) == 0.75


def test_no_folder_and_no_results_are_clear_errors(tmp_path):
    for folders, code in (([], "EVL060"), ([tmp_path], "EVL020")):
        with pytest.raises(EvalError) as caught:
            build_leaderboard(folders)
        assert caught.value.code == code
    (tmp_path / "results.json").write_text('{"schema_version": 9, "tasks": {}}')
    with pytest.raises(EvalError, match="EVL021"):
        build_leaderboard([tmp_path])


def test_a_cut_off_samples_file_is_named_with_its_line(two_runs, tmp_path):
    samples = two_runs[0] / "samples.jsonl"
    samples.write_bytes(samples.read_bytes()[:-20])
    with pytest.raises(EvalError, match=r"samples.jsonl:12: .*EVL023"):
        write_leaderboard(build_leaderboard(two_runs), tmp_path / "out")


def test_paths_of_this_machine_are_not_on_the_page(two_runs, tmp_path):
    board = build_leaderboard(two_runs)
    write_leaderboard(board, tmp_path / "out")
    for name in ("report.html", "leaderboard.json", "leaderboard.csv"):
        text = (tmp_path / "out" / name).read_text()
        assert "/home/" not in text
        assert str(tmp_path) not in text


def test_a_source_on_this_machine_is_shown_without_its_folders(tmp_path):
    task = make_task()
    local = EvalTask(spec=task.spec, examples=task.examples, source="/data/me/mirror/own/name")
    board = build_leaderboard([run(tmp_path / "a", [local], "yes")])
    assert board.columns[0].source == "own/name"
    assert "/data/me" not in (tmp_path / "a/results.json").read_text()


def test_a_long_prompt_keeps_its_start_and_its_question(tmp_path):
    task = make_task(text="Start. " + "context " * 500 + "The question?")
    board = build_leaderboard([run(tmp_path / "a", [task], "yes")])
    page = write_leaderboard(board, tmp_path / "out").read_text()
    assert "Start. context" in page
    assert "[...]" in page
    assert "The question?" in page


def test_learning_curves_come_from_the_training_log(tmp_path):
    folder = run(tmp_path / "runs/x/eval/adapter", [make_task()], "yes", adapter="x")
    lines = [
        {"step": step, "loss": 1.0, "task_loss/fam/topic": 2.0 / step} for step in range(1, 500)
    ]
    lines.append({"step": 500, "eval_loss/fam/topic": 0.5})
    log = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "runs/x/metrics.jsonl").write_text(log + '\n{"step": 501, torn')
    page = write_leaderboard(build_leaderboard([folder]), tmp_path / "out").read_text()
    assert "Learning curves of x" in page
    points = page.split('<polyline points="')[1].split('"')[0].split()
    assert 100 <= len(points) <= 160


def render(board):
    console = Console(width=140, record=True, file=io.StringIO(), force_terminal=False)
    console.print(leaderboard_table(board))
    return console.export_text()


# Foreign text

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</pre></details></body><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    '" onmouseover="alert(1)',
    '" autofocus onfocus=alert(1) x="',
    "<svg onload=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext></mtext><script>alert(1)</script></math>",
    "<iframe src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<form action=//evil><input name=x></form>",
    "<base href=//evil>",
    "<meta http-equiv=refresh content='0;url=//evil'>",
    "<link rel=stylesheet href=//evil>",
    "<style>*{display:none}</style>",
    "<object data=//evil></object>",
    "<embed src=//evil>",
    "<video><source onerror=alert(1)></video>",
    "<details open ontoggle=alert(1)>",
    "<body onload=alert(1)>",
    "<!--<script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\\u003cscript\\u003ealert(1)",
    "${alert(1)}",
    "{{constructor.constructor('alert(1)')()}}",
    "{% for x in y %}{{ x }}{% endfor %}",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "[red]markup[/red]",
    "[link=http://evil]x[/link]",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31mred",
    "\x1b[2J\x1b[H",
    "\r overwritten",
    "\x08\x08\x08",
    "\x00nul",
    "\u202eright to left",
    "\u2066isolate\u2069",
    "\u2028line\u2029",
    "=1+1",
    "+cmd|' /C calc'!A0",
    "@SUM(1)",
    "-2+3",
]
PLACES = ("prompt", "output", "label", "task")


class Nodes(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)

    def handle_comment(self, data):
        raise AssertionError("a comment on the page")


ALLOWED_TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "main",
    "section",
    "footer",
    "div",
    "span",
    "p",
    "h1",
    "h2",
    "h3",
    "strong",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "button",
    "input",
    "details",
    "summary",
    "svg",
    "g",
    "line",
    "rect",
    "circle",
    "polyline",
    "dl",
    "dt",
    "dd",
    "pre",
    "wbr",
    "script",
}
ALLOWED_ATTRIBUTES = {
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "id",
    "type",
    "placeholder",
    "hidden",
    "scope",
    "colspan",
    "title",
    "role",
    "width",
    "height",
    "rx",
    "cx",
    "cy",
    "r",
    "x",
    "x1",
    "x2",
    "y1",
    "y2",
    "points",
    "viewbox",
    "preserveaspectratio",
}


def nodes_of(page):
    nodes = Nodes()
    nodes.feed(page)
    nodes.close()
    return nodes


def check_page(page):
    nodes = nodes_of(page)
    assert set(nodes.tags) <= ALLOWED_TAGS
    assert nodes.tags.count("script") == nodes.tags.count("style") == 1
    assert nodes.tags.count("meta") == 5
    for tag, name, value in nodes.attributes:
        assert name in ALLOWED_ATTRIBUTES or name.startswith(("aria-", "data-")), (tag, name)
        assert tag == "meta" or name != "content"
        assert "\x1b" not in (value or "")
    assert not set(page) & set("\x00\x07\x08\x0d\x1b\x9b\u2028\u2029\u202e\u2066\u2069")
    return nodes


def page_with(payload, place, folder):
    label = payload.strip() or "x"
    task = make_task(
        name=f"fam/{payload}" if place == "task" else "fam/topic",
        labels=(label, "no") if place == "label" else ("yes", "no"),
        targets=(label, "no") if place == "label" else ("yes", "no"),
        text=payload if place == "prompt" else "t",
    )
    answer = payload if place in {"output", "label"} else "yes"
    about = {"model": payload, "adapter": payload} if place == "task" else {}
    results = run(folder / "run", [task], answer, **about)
    board = build_leaderboard([results])
    page = write_leaderboard(board, folder / "out").read_text(encoding="utf-8")
    return board, page


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_text_adds_no_node_to_the_page(tmp_path, number, place):
    payload = HOSTILE[number]
    board, page = page_with(payload, place, tmp_path)
    nodes = check_page(page)
    _, plain = page_with("plain", place, tmp_path / "plain")
    tags = [tag for tag in nodes.tags if tag != "wbr"]
    assert tags == [tag for tag in nodes_of(plain).tags if tag != "wbr"]
    shown = "".join(nodes.text)
    assert harmless(payload).strip()[:20] in shown
    assert "\x1b" not in render(board)
    assert "\x9b" not in render(board)
    for row in csv.reader(io.StringIO(leaderboard_csv(board))):
        assert not any(value.startswith(("=", "+", "-", "@")) for value in row)


def test_there_are_at_least_two_hundred_hostile_cases():
    assert len(HOSTILE) * len(PLACES) >= 200


def test_the_content_policy_allows_only_the_pages_own_style_and_script(two_runs, tmp_path):
    page = write_leaderboard(build_leaderboard(two_runs), tmp_path / "out").read_text()
    for tag in ("style", "script"):
        body = page.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in content_policy()
    assert content_policy().startswith("default-src 'none'; ")
    assert "unsafe" not in content_policy()
    nodes = nodes_of(page)
    policy = [value for tag, name, value in nodes.attributes if name == "content"]
    assert content_policy() in policy
    for word in ("http://", "https://", "//", "@import", "url("):
        assert word not in page.replace("http-equiv", "")


def test_markup_refuses_styles_handlers_and_links_that_leave():
    for attribute in ({"onclick": "x"}, {"style": "x"}, {"href": "http://x"}, {"srcdoc": "x"}):
        with pytest.raises(ValueError, match="allowed"):
            element("a", "x", **attribute)
    assert element("a", "<", href="#x") == '<a href="#x">&lt;</a>'


def test_markup_escapes_everything_but_markup():
    assert joined("<b>", Html("<i></i>"), element("p", "&")) == "&lt;b&gt;<i></i><p>&amp;</p>"
    assert element("p", title="\"<>&'") == '<p title="&quot;&lt;&gt;&amp;&#x27;"></p>'
    assert element("p", hidden=True, title=None, class_="a") == '<p hidden class="a"></p>'


def write_training(folder, tasks, overlap):
    report = {"tasks": [{"task": task} for task in tasks], "overlap": overlap}
    report |= {"num_steps": 1200, "num_tokens": 3_400_000}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data_report.json").write_text(json.dumps(report))


def test_means_are_told_apart_by_what_the_mixture_had(tmp_path):
    tasks = [make_task("fam/seen"), make_task("fam/kin"), make_task("fam/new")]
    tasks = [
        replace(task, source=source)
        for task, source in zip(tasks, ("a/data@1", "a/data@1", "b/data@1"), strict=True)
    ]
    base = run(tmp_path / "run/eval/base", tasks, "no")
    adapter = run(tmp_path / "run/eval/adapter", tasks, "yes", adapter="runs/mine/adapter")
    leak = {"task": "fam/seen", "split": "test", "num_rows": 4, "num_exact": 1, "num_near": 1}
    overlap = {"decontaminate": "report", "evaluated": [leak, {"task": "broken"}]}
    write_training(tmp_path / "run", ["fam/seen"], overlap)
    board = build_leaderboard([base, adapter])
    page = write_leaderboard(board, tmp_path / "out").read_text()
    facts = json.loads((tmp_path / "out/leaderboard.json").read_text())
    summary = facts["summary"][board.runs[-1].name]
    assert summary["worst_task"]["value"] == 0.75
    assert {name: part["num_tasks"] for name, part in summary["parts"].items()} == {
        "seen": 1,
        "related": 1,
        "held_out": 1,
    }
    assert facts["leakage"][board.runs[-1].name][0]["num_exact"] == 1
    assert "Held out" in page
    assert "50.0 %" in page
    assert "1,200 steps, 3,400,000 tokens" in page
    check_page(page)


def test_sections_of_the_benchmark_name_what_was_not_run(tmp_path):
    from eval.bfcl.aggregate import section_scores

    task = make_task("bfcl/simple_python")
    folder = run(tmp_path / "run", [task], "yes")
    results = json.loads((folder / "results.json").read_text())
    entry = results["tasks"]["bfcl/simple_python"]
    entry["settings"] = {"checker": "bfcl"}
    entry["metrics"]["call_ast_accuracy"] = {"value": 0.5, "standard_error": 0.1}
    (folder / "results.json").write_text(json.dumps(results))
    board = build_leaderboard([folder])
    page = write_leaderboard(board, tmp_path / "out").read_text()
    facts = json.loads((tmp_path / "out/leaderboard.json").read_text())["bfcl"]
    wanted = section_scores({"simple_python": 0.5}, {"simple_python": 4})
    (found,) = facts.values()
    assert found["non_live"]["accuracy"] == wanted["non_live"].accuracy
    assert found["non_live"]["weight"] == 0.1
    assert "multiple" in found["non_live"]["not_run"]
    assert "Not run, counted as 0" in page
    check_page(page)


def test_published_numbers_stand_beside_ours_and_are_marked(two_runs, tmp_path):
    entry = {"task": "fam/topic", "model": "<b>GPT</b>", "value": 0.9, "source": "A paper"}
    entries = [entry | {"protocol": "5 examples in the prompt"}]
    path = tmp_path / "published.json"
    path.write_text(json.dumps(entries))
    board = build_leaderboard(two_runs)
    page = write_leaderboard(board, tmp_path / "out", references=load_references(path)).read_text()
    assert "not comparable" in page
    assert "&lt;b&gt;GPT&lt;/b&gt;" in page
    check_page(page)
    for broken in ("{}", "[1]", json.dumps([entry]), json.dumps([entries[0] | {"value": None}])):
        path.write_text(broken)
        with pytest.raises(EvalError, match="EVL061"):
            load_references(path)


def test_an_adapter_that_was_fitted_to_test_prompts_is_marked_in_every_report(tmp_path):
    tasks = [make_task()]
    folders = [
        run(tmp_path / "a", tasks, "no", adapter="clean"),
        run(tmp_path / "b", tasks, "yes", adapter="merged", transductive=True),
    ]
    board = build_leaderboard(folders)
    marks = [note for note in board.notes if note.startswith("Transductive: merged")]
    assert len(marks) == 1
    write_leaderboard(board, tmp_path / "out")
    assert "was fitted to test prompts" in (tmp_path / "out/report.html").read_text()
    assert json.loads((tmp_path / "out/leaderboard.json").read_text())["notes"] == marks
    printed = io.StringIO()
    Console(width=200, file=printed).print(leaderboard_table(board))
    assert "was fitted to test prompts" in printed.getvalue()


def test_codes_of_pictures_are_shown_as_pictures_where_the_task_says_so(tmp_path):
    codes = digit_codes(1)
    keys = ["pictures/test/0", "pictures/test/1"]
    for is_picture in (True, False):
        spec = TaskSpec(
            id="pictures",
            kind="text",
            family="dna",
            instruction="Draw.",
            metrics=("exact_match",),
            settings={"is_picture": is_picture},
        )
        rows = [
            TaskExample(key=key, task="pictures", split="test", inputs={"text": "t"}, target=codes)
            for key in keys
        ]
        folder = tmp_path / str(is_picture) / "run"
        task = EvalTask(spec=spec, examples=rows, majority_answer=None, source="generated")
        facts = {"backend": "transformers", "model": "embedded", "adapter": None}
        backend = NamedBackend(dict(zip(keys, [codes, "no picture"], strict=True)), **facts)
        evaluate(backend, [task], output_folder=folder, data_root_kind="embedded")
        page = tmp_path / str(is_picture) / "page"
        write_leaderboard(build_leaderboard([folder]), page)
        text = next(page.glob("*.html")).read_text(encoding="utf-8")
        # Both targets and the first answer.
        assert text.count('class="picture"') == (3 if is_picture else 0)


@pytest.mark.parametrize("place", ["decoding", "both_strands"])
def test_runs_that_differ_in_decoding_only_are_all_shown(tmp_path, place):
    folders = []
    for number in (1, 2):
        facts = {"both_strands": ["fam/topic"] * (number - 1)} if place == "both_strands" else {}
        folder = run(tmp_path / str(number), [make_task()], "yes", weights_sha256="ab", **facts)
        results = json.loads((folder / "results.json").read_text())
        if place == "decoding":
            results["tasks"]["fam/topic"]["decoding"]["max_new_tokens"] = number
        (folder / "results.json").write_text(json.dumps(results))
        folders.append(folder)
    assert len([run for run in build_leaderboard(folders).runs if run.kind == "base"]) == 2


def test_no_difference_of_other_tasks_stands_under_a_mean(tmp_path):
    names = ["fam/topic", "fam/other"]
    both = run(tmp_path / "a", [make_task(name) for name in names], "yes", model="both")
    one = run(tmp_path / "b", [make_task(names[0])], "no", model="one")
    board = build_leaderboard([both, one])
    differences = build_differences(board, "one")
    assert differences.of("both", "fam/topic").difference == 0.5
    assert differences.of("both", None) is None
    told = differences.to_json()["runs"]["both"]
    assert told["macro_tasks"] == ["fam/topic"]
    assert told["only_second"] == ["fam/other"]
    page = write_leaderboard(board, tmp_path / "out", differences=differences).read_text()
    check_page(page)


def test_the_csv_marks_numbers_that_cannot_be_compared(tmp_path):
    first = run(tmp_path / "a", [make_task()], "yes")
    second = run(tmp_path / "b", [make_task(targets=("yes", "no"))], "no")
    rows = csv.DictReader(io.StringIO(leaderboard_csv(build_leaderboard([first, second]))))
    assert [row["fam/topic/accuracy_is_comparable"] for row in rows] == ["true", "true", "false"]
