"""Every metric on 1,000 random cases against an implementation that shares no code with it."""

import json
import random
import re
import string
import warnings
from collections import Counter

import numpy as np
import pytest
import sklearn
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats
from sklearn import metrics as sklearn_metrics

from eval.metrics import METRICS
from eval.parsers import parse_answer
from pipeline.types import TaskExample, TaskSpec

NUM_CASES = 1000
TOLERANCE = 1e-12
LABELS = ("alpha", "beta", "gamma", "delta")


def spec_of(kind, **settings):
    return TaskSpec(
        id="test/task", kind=kind, family="test", instruction="", labels=LABELS, settings=settings
    )


def check(name, spec, make_pairs, oracle):
    # The oracle checks its arguments for longer than it computes.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        check_all(name, spec, make_pairs, oracle)


def check_all(name, spec, make_pairs, oracle):
    for case in range(NUM_CASES):
        generator = random.Random(f"{name}/{case}")
        pairs = make_pairs(generator)
        expected = oracle(pairs)
        assert abs(METRICS[name].corpus(pairs, spec) - expected) <= TOLERANCE, (case, pairs)


def label_pairs(generator, *, failures=True):
    used = LABELS[: generator.randint(1, 4)]
    answers = [*used, None] if failures else list(used)
    return [
        (generator.choice(answers), generator.choice(used)) for _ in range(generator.randint(1, 30))
    ]


def as_columns(pairs):
    return [target for _, target in pairs], [parsed or "unparsed" for parsed, _ in pairs]


def test_accuracy_equals_scikit_learn():
    check(
        "accuracy",
        spec_of("classification"),
        label_pairs,
        lambda pairs: sklearn_metrics.accuracy_score(*as_columns(pairs)),
    )


def test_macro_f1_equals_scikit_learn_over_real_classes():
    def oracle(pairs):
        gold, predicted = as_columns(pairs)
        classes = sorted((set(gold) | set(predicted)) - {"unparsed"})
        return sklearn_metrics.f1_score(
            gold, predicted, labels=classes, average="macro", zero_division=0
        )

    check("macro_f1", spec_of("classification"), label_pairs, oracle)


def test_micro_f1_of_relations_equals_scikit_learn_without_the_negative_label():
    positives = list(LABELS[1:])

    def oracle(pairs):
        gold, predicted = as_columns(pairs)
        return sklearn_metrics.f1_score(
            gold, predicted, labels=positives, average="micro", zero_division=1
        )

    spec = spec_of("relation", negative_label=LABELS[0])
    check("relation_f1", spec, label_pairs, oracle)
    only_negatives = [(LABELS[0], LABELS[0]), (None, LABELS[0])]
    assert METRICS["relation_f1"].corpus(only_negatives, spec) == 1.0


def test_matthews_correlation_equals_scikit_learn():
    def oracle(pairs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sklearn_metrics.matthews_corrcoef(*as_columns(pairs))

    check("mcc", spec_of("classification"), label_pairs, oracle)


def number_pairs(generator, *, failures=False):
    size = generator.randint(3, 40)
    rows = [
        (round(generator.uniform(0, 5), generator.choice([0, 2])), round(generator.uniform(0, 5)))
        for _ in range(size)
    ]
    if len({a for a, _ in rows}) == 1 or len({b for _, b in rows}) == 1:
        return number_pairs(generator)
    return [(float(a), float(b)) for a, b in rows]


def test_spearman_equals_scipy():
    check(
        "spearman",
        spec_of("regression"),
        number_pairs,
        lambda pairs: float(stats.spearmanr([a for a, _ in pairs], [b for _, b in pairs])[0]),
    )


def test_pearson_equals_scipy():
    check(
        "pearson",
        spec_of("regression"),
        number_pairs,
        lambda pairs: float(stats.pearsonr([a for a, _ in pairs], [b for _, b in pairs])[0]),
    )


def test_mean_absolute_error_equals_scikit_learn():
    check(
        "mean_absolute_error",
        spec_of("regression"),
        number_pairs,
        lambda pairs: sklearn_metrics.mean_absolute_error(
            [b for _, b in pairs], [a for a, _ in pairs]
        ),
    )


WORDS = [
    "the",
    "a",
    "Cell",
    "cell",
    "p53",
    "p-53",
    "binds",
    "DNA.",
    "(DNA)",
    "über",
    "",
    "x_y",
    "an",
]


def random_text(generator, most=12):
    return " ".join(generator.choice(WORDS) for _ in range(generator.randint(0, most)))


def test_rouge_l_equals_rouge_score_without_stemming():
    scorer = RougeScorer(["rougeL"], use_stemmer=False)

    def make(generator):
        return [(random_text(generator), random_text(generator)) for _ in range(3)]

    def oracle(pairs):
        return float(np.mean([scorer.score(gold, text)["rougeL"].fmeasure for text, gold in pairs]))

    check("rouge_l", spec_of("text"), make, oracle)


def squad_words(text):
    lowered = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", lowered).split()


def squad_f1(text, golds):
    best = 0.0
    for gold in golds or [""]:
        first, second = squad_words(text), squad_words(gold)
        if not first or not second:
            best = max(best, float(first == second))
            continue
        left = list(second)
        same = 0
        for word in first:
            if word in left:
                left.remove(word)
                same += 1
        if same:
            precision, recall = same / len(first), same / len(second)
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def answer_pairs(generator):
    return [
        (
            random_text(generator, 5),
            [random_text(generator, 5) for _ in range(generator.randint(0, 3))],
        )
        for _ in range(4)
    ]


def test_answer_f1_equals_the_definition_of_squad():
    check(
        "answer_f1",
        spec_of("extractive_qa"),
        answer_pairs,
        lambda pairs: float(np.mean([squad_f1(*pair) for pair in pairs])),
    )


def test_exact_match_compares_stripped_text_only():
    check(
        "exact_match",
        spec_of("extractive_qa"),
        answer_pairs,
        lambda pairs: float(
            np.mean(
                [any(text.strip() == g.strip() for g in golds or [""]) for text, golds in pairs]
            )
        ),
    )


def random_entities(generator):
    return [
        {"text": generator.choice("xyz"), "type": generator.choice("AB")}
        for _ in range(generator.randint(0, 5))
    ]


def entity_pairs(generator):
    return [
        (
            None if generator.random() < 0.1 else random_entities(generator),
            random_entities(generator),
        )
        for _ in range(generator.randint(1, 6))
    ]


def indicator_columns(pairs, items_of):
    """Multisets as 0/1 columns: the third x of row 0 is item ("x", 3) of row 0."""
    gold, predicted = [], []
    for row, (parsed, target) in enumerate(pairs):
        sides = []
        for value in (parsed, target):
            # An unparsed answer is an empty one, and wrong also where an empty one is right.
            unparsed = [] if items_of(target) else ["unparsed"]
            counts = Counter(unparsed if value is None else items_of(value))
            sides.append({(row, item, n) for item, count in counts.items() for n in range(count)})
        for item in sorted(sides[0] | sides[1], key=str):
            predicted.append(int(item in sides[0]))
            gold.append(int(item in sides[1]))
    return gold, predicted


@pytest.mark.parametrize(
    ("name", "score", "empty"),
    [
        ("entity_f1", sklearn_metrics.f1_score, 1.0),
        ("entity_precision", sklearn_metrics.precision_score, 0.0),
        ("entity_recall", sklearn_metrics.recall_score, 1.0),
    ],
)
def test_entity_scores_equal_scikit_learn_on_indicators(name, score, empty):
    def oracle(pairs):
        columns = indicator_columns(pairs, lambda value: [(e["text"], e["type"]) for e in value])
        if not columns[0]:
            return 1.0
        if name == "entity_precision" and not any(columns[0]) and not any(columns[1]):
            return 1.0
        return float(score(*columns, zero_division=empty))

    check(name, spec_of("token_classification"), entity_pairs, oracle)


def random_set(generator):
    return [label for label in LABELS if generator.random() < 0.4]


def set_pairs(generator):
    return [(random_set(generator), random_set(generator)) for _ in range(generator.randint(1, 8))]


def set_pairs_with_unparsed(generator):
    pairs = []
    for parsed, target in set_pairs(generator):
        is_unparsed = target and generator.random() < 0.3
        pairs.append((None if is_unparsed else parsed, target))
    return pairs


def as_matrix(rows):
    return np.array([[int(label in (row or ())) for label in LABELS] for row in rows])


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("entity_f1", "token_classification", [{"text": "a", "type": "X"}]),
        ("set_f1", "multi_label", ["x"]),
    ],
)
def test_an_unparsed_answer_is_no_free_answer_where_nothing_is_to_be_named(name, kind, target):
    metric, spec = METRICS[name], spec_of(kind)
    pairs = [(target, target), (None, [])]
    assert metric.corpus(pairs, spec) == pytest.approx(2 / 3)
    assert metric.corpus([(target, target), ([], [])], spec) == 1.0
    assert metric.corpus([(target, target), (None, target)], spec) == pytest.approx(2 / 3)


@pytest.mark.parametrize("pairs", [set_pairs, set_pairs_with_unparsed])
def test_set_f1_equals_scikit_learns_micro_average(pairs):
    check(
        "set_f1",
        spec_of("multi_label"),
        pairs,
        lambda pairs: sklearn_metrics.f1_score(
            as_matrix([b for _, b in pairs]),
            as_matrix([a for a, _ in pairs]),
            average="micro",
            zero_division=1,
        ),
    )


def test_example_set_f1_equals_scikit_learns_samples_average():
    check(
        "example_set_f1",
        spec_of("multi_label"),
        set_pairs,
        lambda pairs: sklearn_metrics.f1_score(
            as_matrix([b for _, b in pairs]),
            as_matrix([a for a, _ in pairs]),
            average="samples",
            zero_division=1,
        ),
    )


def test_set_match_equals_scikit_learns_subset_accuracy():
    check(
        "set_match",
        spec_of("multi_label"),
        set_pairs,
        lambda pairs: sklearn_metrics.accuracy_score(
            as_matrix([b for _, b in pairs]), as_matrix([a for a, _ in pairs])
        ),
    )


def test_token_accuracy_equals_scikit_learn_over_all_tokens():
    def make(generator):
        rows = []
        for _ in range(generator.randint(1, 5)):
            gold = [generator.choice(LABELS) for _ in range(generator.randint(1, 9))]
            rows.append(([generator.choice([*LABELS, ""]) for _ in gold], gold))
        return rows

    check(
        "token_accuracy",
        spec_of("token_classification", scheme="plain"),
        make,
        lambda pairs: sklearn_metrics.accuracy_score(
            [tag for _, gold in pairs for tag in gold], [tag for tags, _ in pairs for tag in tags]
        ),
    )


VALUES = [1, 1.0, True, "1", [1, 2], {"k": 1}, None, 2.5]


def random_calls(generator):
    return [
        {
            "name": generator.choice("fg"),
            "arguments": {
                name: generator.choice(VALUES)
                for name in generator.sample("abc", k=generator.randint(0, 2))
            },
        }
        for _ in range(generator.randint(0, 3))
    ]


def call_pairs(generator):
    return [(random_calls(generator), random_calls(generator)) for _ in range(4)]


def strict_text(value):
    """JSON text in which 1 and 1.0 are one number and true is none."""
    return json.dumps(value, sort_keys=True).replace("1.0", "1")


def test_call_exact_match_equals_comparing_sorted_texts():
    def oracle(pairs):
        return float(
            np.mean([sorted(map(strict_text, a)) == sorted(map(strict_text, b)) for a, b in pairs])
        )

    check("call_exact_match", spec_of("function_calling"), call_pairs, oracle)


def test_name_f1_equals_scikit_learn_on_indicators():
    def oracle(pairs):
        columns = indicator_columns(pairs, lambda calls: [call["name"] for call in calls])
        return sklearn_metrics.f1_score(*columns, zero_division=1) if columns[0] else 1.0

    check("name_f1", spec_of("function_calling"), call_pairs, oracle)


def test_argument_f1_equals_scikit_learn_on_indicators():
    def items(calls):
        return [
            (call["name"], name, strict_text(value))
            for call in calls
            for name, value in call["arguments"].items()
        ]

    def oracle(pairs):
        columns = indicator_columns(pairs, items)
        return sklearn_metrics.f1_score(*columns, zero_division=1) if columns[0] else 1.0

    check("argument_f1", spec_of("function_calling"), call_pairs, oracle)


def test_entity_f1_of_bio_tags_equals_seqeval():
    seqeval_metrics = pytest.importorskip("seqeval.metrics")

    def spans(tags):
        found, start = [], None
        for index, tag in enumerate([*tags, "O"]):
            if start is not None and (tag == "O" or tag.startswith("B-")):
                found.append({"text": f"{start}:{index}", "type": tags[start][2:]})
                start = None
            if tag.startswith("B-"):
                start = index
        return found

    def tags(generator):
        row = []
        for _ in range(generator.randint(1, 8)):
            follows = [f"I-{row[-1][2:]}"] if row and row[-1] != "O" else []
            row.append(generator.choice(["O", "B-X", "B-Y", *follows]))
        return row

    spec = spec_of("token_classification")
    for case in range(NUM_CASES):
        generator = random.Random(case)
        gold = [tags(generator) for _ in range(4)]
        guess = [[generator.choice([tag, "O"]) for tag in row] for row in gold]
        guess = [
            [
                "O" if t.startswith("I-") and (i == 0 or row[i - 1] == "O") else t
                for i, t in enumerate(row)
            ]
            for row in guess
        ]
        guess = [drop_loose_ends(row) for row in guess]
        pairs = [(spans(a), spans(b)) for a, b in zip(guess, gold, strict=True)]
        for place, (_, target) in enumerate(pairs):
            if target and generator.random() < 0.2:
                # For seqeval an answer that cannot be read is one without entities.
                pairs[place] = (None, target)
                guess[place] = ["O"] * len(guess[place])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = seqeval_metrics.f1_score(gold, guess, zero_division=1)
        assert abs(METRICS["entity_f1"].corpus(pairs, spec) - expected) <= TOLERANCE


def drop_loose_ends(row):
    """An I- tag must go on the entity before it, else the two notations differ."""
    clean = []
    for tag in row:
        loose = tag.startswith("I-") and (not clean or clean[-1][2:] != tag[2:])
        clean.append("O" if loose else tag)
    return clean


def test_every_metric_of_the_table_carries_its_own_name():
    assert {name: metric.name for name, metric in METRICS.items()} == {
        name: name for name in METRICS
    }


def test_bfcl_accuracy_takes_the_benchmarks_answer_key():
    spec = spec_of("function_calling", checker="bfcl")
    functions = [
        {
            "name": "area",
            "description": "",
            "parameters": {
                "type": "dict",
                "properties": {"base": {"type": "integer", "description": ""}},
                "required": ["base"],
            },
        }
    ]
    target = {
        "category": "simple_python",
        "ground_truth": [{"area": {"base": [3, 4]}}],
        "functions": functions,
    }
    example = TaskExample(key="k", task="t", split="test", inputs={"query": ""}, target=target)
    metric = METRICS["call_ast_accuracy"]
    texts = {
        '{"name": "area", "arguments": {"base": 3}}': 1.0,
        '{"name": "area", "arguments": {"base": 9}}': 0.0,
    }
    for text, expected in texts.items():
        assert metric.row_value(parse_answer(text, example, spec), target, spec) == expected
    assert metric.row_value(None, target, spec) == 0.0


def scored_pairs(generator, labels):
    def answer():
        scores = [generator.choice([-2.0, -1.5, -1.0, -0.25]) for _ in labels]
        return {"label": labels[scores.index(max(scores))], "scores": scores}

    return [(answer(), generator.choice(labels)) for _ in range(generator.randint(2, 30))]


def probabilities(pairs):
    scores = np.asarray([parsed["scores"] for parsed, _ in pairs])
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("auroc", sklearn_metrics.roc_auc_score),
        ("auprc", sklearn_metrics.average_precision_score),
    ],
)
@pytest.mark.parametrize("labels", [LABELS[:2], LABELS[:3]])
def test_areas_under_curves_equal_scikit_learn(name, area, labels):
    spec = TaskSpec(
        id="t", kind="records", family="f", instruction="", labels=labels, metrics=(name,)
    )

    def oracle(pairs):
        gold = np.asarray([labels.index(target) for _, target in pairs])
        # Rounded, so that equal scores stay equal whatever the order of summing.
        likely = np.round(probabilities(pairs), 12)
        classes = [1] if len(labels) == 2 else range(len(labels))
        areas = [
            area(gold == index, likely[:, index])
            for index in classes
            if 0 < (gold == index).sum() < len(gold)
        ]
        return float(np.mean(areas)) if areas else 0.5

    check(name, spec, lambda generator: scored_pairs(generator, labels), oracle)


def test_an_answer_without_scores_counts_as_sure_of_its_label():
    spec = TaskSpec(id="t", kind="records", family="f", instruction="", labels=("no", "yes"))
    pairs = [
        ({"label": "yes", "scores": None}, "yes"),
        ({"label": "yes", "scores": None}, "no"),
        ({"label": "no", "scores": None}, "no"),
        (None, "no"),
    ]
    expected = sklearn_metrics.roc_auc_score([1, 0, 0, 0], [1, 1, 0, 1])
    assert METRICS["auroc"].corpus(pairs, spec) == pytest.approx(expected)
    assert METRICS["accuracy"].corpus(pairs, spec) == 0.5


def test_ndcg_equals_scikit_learn_where_all_options_are_ranked():
    def ranking_pairs(generator):
        options = list(range(generator.randint(2, 8)))
        return [
            (
                generator.sample(options, len(options)),
                generator.sample(options, generator.randint(1, len(options))),
            )
            for _ in range(generator.randint(1, 10))
        ]

    def oracle(pairs):
        values = []
        for ranked, relevant in pairs:
            gains = [[float(option in relevant) for option in range(len(ranked))]]
            scores = [[float(-ranked.index(option)) for option in range(len(ranked))]]
            values.append(sklearn_metrics.ndcg_score(gains, scores))
        return float(np.mean(values))

    check("ndcg", spec_of("ranking"), ranking_pairs, oracle)


@pytest.mark.parametrize(
    ("ranked", "relevant", "reciprocal_rank", "top_1"),
    [
        ([2, 0, 1], [0, 1], 0.5, 0.0),
        ([1], [1, 0], 1.0, 1.0),
        ([2], [1], 0.0, 0.0),
        ([], [1], 0.0, 0.0),
        ([], [], 1.0, 1.0),
        ([0], [], 0.0, 0.0),
        (None, [1], 0.0, 0.0),
    ],
)
def test_the_first_relevant_option_decides_its_rank(ranked, relevant, reciprocal_rank, top_1):
    spec = spec_of("ranking")
    assert METRICS["reciprocal_rank"].corpus([(ranked, relevant)], spec) == reciprocal_rank
    assert METRICS["top_1"].corpus([(ranked, relevant)], spec) == top_1


def test_soft_labels_give_credit_by_the_share_of_raters():
    spec = spec_of("soft_label")
    shares = {"alpha": 0.4, "beta": 0.4, "gamma": 0.2, "delta": 0.0}
    pairs = [("alpha", shares), ("gamma", shares), (None, shares), ("beta", shares)]
    assert METRICS["soft_accuracy"].corpus(pairs, spec) == pytest.approx(0.25)
    assert METRICS["majority_accuracy"].corpus(pairs, spec) == 0.5


ENTITIES = spec_of("token_classification", scheme="bio")


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("box_compat_exact_match", "a b <alpha>", 1.0),
        ("box_compat_exact_match", "b <alpha>", 1.0),
        ("box_compat_exact_match", "b <beta>", 0.0),
        ("box_compat_f1", "c alpha", 0.5),
        ("box_compat_rouge_l", "b <alpha>", 1.0),
        ("box_compat_rouge_l", "nothing", 0.0),
    ],
)
def test_the_lenient_scores_take_the_best_piece_of_the_target(name, answer, expected):
    target = [{"text": "b", "type": "alpha"}, {"text": "x y", "type": "gamma"}]
    assert METRICS[name].of_text
    assert METRICS[name].row_value(answer, target, ENTITIES) == pytest.approx(expected)


def test_lenient_scores_of_a_parsed_answer_are_those_of_its_text():
    target = [{"text": "b", "type": "alpha"}]
    assert METRICS["box_compat_exact_match"].row_value(target, target, ENTITIES) == 1.0
    assert METRICS["box_compat_exact_match"].row_value([], [], ENTITIES) == 1.0


@pytest.mark.parametrize(
    ("answer", "target", "expected"),
    [
        ("Aspirin, the ibuprofen", "ibuprofen, aspirin", 1.0),
        ("aspirin, aspirin", "aspirin, ibuprofen", 2 / 3),
        ("None", "", 1.0),
        ("aspirin", "", 0.0),
        (None, "aspirin", 0.0),
    ],
)
def test_lists_of_answers_are_compared_as_sets(answer, target, expected):
    value = METRICS["list_f1"].row_value(answer, target, spec_of("text"))
    assert value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "target", "expected"),
    [
        ("Olfactory receptor family.", "a member of the olfactory receptor family", 1.0),
        ("This gene encodes a zinc finger protein superfamily member", "zinc finger protein", 1.0),
        ("olfactory receptor family 4", "olfactory receptor", 1.0),
        ("taste receptor family", "olfactory receptor family", 0.0),
        ("receptor family", "olfactory receptor family", 0.0),
        ("belongs to the family of kinases", "kinases", 1.0),
        ("the Olfactory Receptor (OR) gene family", "an olfactory receptor family", 1.0),
        ("the largest (OR) gene family", "(XY) gene family", 0.0),
        ("encodes an olfactory receptor.", "olfactory receptor", 1.0),
        ("This gene encodes olfactory receptors, which bind odours", "olfactory receptor", 1.0),
        ("encodes a taste receptor", "olfactory receptor", 0.0),
        ("encodes a protein", "encodes the protein", 0.0),
        ("member of the gene family", "member of this gene family", 0.0),
        ("member of the gene family", "Member of the gene family.", 1.0),
        (
            "members of a large family of G-protein-coupled receptors",
            "a member of a large family of zinc finger transcription factors",
            0.0,
        ),
        (
            "members of a large family of G-protein-coupled receptors",
            "This gene belongs to the G protein-coupled receptor superfamily.",
            1.0,
        ),
        (
            "a member of the superfamily of ATP-binding cassette (ABC) transporters",
            "The protein belongs to the ATP-binding cassette transporter family in yeast.",
            1.0,
        ),
        ("a member of the Ras family", "a member of the Ra family", 0.0),
        ("a class of enzymes. It belongs to the lipase family", "lipase gene family", 1.0),
        ("olfactory receptor", ["taste receptor", "Olfactory Receptor"], 1.0),
        ("", "olfactory receptor", 0.0),
        (None, "olfactory receptor", 0.0),
    ],
)
def test_gene_families_are_compared_by_name(answer, target, expected):
    assert METRICS["family_match"].row_value(answer, target, spec_of("text")) == expected
