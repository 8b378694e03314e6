"""Text on which the embedded base is trained: small reading exercises in the chat format.

The exercises train what the tasks need (copying, looking up, selecting, listing in order, writing
JSON, seeing motifs) in prompts of the same form, but none of them is one of the generated tasks:
instructions, answers and label words differ, and every name is on the training side.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.models.embedded.vocabulary import INSTRUCTION_WORDS
from pipeline.sources.generated.names import NAME_ENDINGS, NameMaker

ALL_ENDINGS = ("",) * 8 + NAME_ENDINGS
"""A name without ending is as frequent as eight of the twelve kinds together."""
_WORDS = """
city name color unit mode owner topic team limit page size year count level group gene patients
family drug road lake tree river house friend
"""
WORDS: tuple[str, ...] = tuple(_WORDS.split())
"""English words that serve as keys."""


COMMON_WORDS: tuple[str, ...] = tuple(
    sorted({word for word in INSTRUCTION_WORDS.split() if word.isalpha()})
)
"""Words of prompts and answers; picking them from lists trains their embeddings."""


@dataclass(frozen=True, slots=True)
class Exercise:
    """One prompt with its answer; DNA stands between `<dna>` marks."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What an exercise draws from."""

    random: random.Random
    names: NameMaker
    longest: int
    """Largest number of things in a list at this stage of the training."""

    def thing(self) -> str:
        """Return a name, now and then a number."""
        if self.random.random() < 0.15:
            return str(self.random.randint(2, 99))
        return self.names.word(endings=ALL_ENDINGS)

    def things(self, low: int = 1) -> list[str]:
        """Return different names, `low` to `longest` of them."""
        count = self.random.randint(low, max(low, self.longest))
        found = dict.fromkeys(self.thing() for _ in range(count))
        while len(found) < count:
            found[self.thing()] = None
        return list(found)

    def keys(self, count: int) -> list[str]:
        """Return `count` different keys, English or invented."""
        if self.random.random() < 0.7:
            return self.random.sample(WORDS, count)
        found = dict.fromkeys(self.names.word() for _ in range(count))
        while len(found) < count:
            found[self.names.word()] = None
        return list(found)

    def one_of(self, *options: str) -> str:
        """Return one option."""
        return self.random.choice(options)


ExerciseMaker = Callable[[Source], Exercise]


def copy_line(source: Source) -> Exercise:
    """Repeat a line, or name by name with marks."""
    words = source.things()
    line = source.one_of(" ", ", ", " and ").join(words)
    head = source.one_of("Repeat the text.", "Copy the text as it is.", "Write the text again.")
    return Exercise(f"{head}\nText: {line}", line)


def _pairs(source: Source) -> tuple[list[str], list[str]]:
    values = source.things(1)
    return source.keys(len(values)), values


LOOK_UP_FORMS = (
    ("{} {}", " and "),
    ("{}={}", " and "),
    ("{}: {}", " and "),
    ("{}: {}", "\n"),
    ("{} is {} .", " "),
)
"""How a key and its value are written, and what stands between two such pairs."""


def look_up(source: Source) -> Exercise:
    """Give the value of one of several keys, alone or with its key."""
    keys, values = _pairs(source)
    form, join = source.random.choice(LOOK_UP_FORMS)
    text = join.join(form.format(key, value) for key, value in zip(keys, values, strict=True))
    index = source.random.randrange(len(keys))
    question = source.one_of("What is {} ?", "Give the value of {} .", "Value of {}")
    answer = source.one_of("{value}", "{key}: {value}", "{value}")
    return Exercise(
        f"Read the values.\nText: {text}\nQuestion: {question.format(keys[index])}",
        answer.format(key=keys[index], value=values[index]),
    )


def write_json(source: Source) -> Exercise:
    """Turn keys and values into a JSON object, all of them or only those asked for."""
    keys, values = _pairs(source)
    form = source.one_of("{} {}", "{}={}", "{}: {}", "{} is {}")
    text = " and ".join(form.format(key, value) for key, value in zip(keys, values, strict=True))
    record = {
        key: int(value) if value.isdigit() else value
        for key, value in zip(keys, values, strict=True)
    }
    if source.random.random() < 0.5:
        return Exercise(f"Write a JSON record.\nText: {text}", json.dumps(record))
    wanted = source.random.sample(keys, source.random.randint(1, len(keys)))
    chosen = {key: record[key] for key in wanted}
    asked = ", ".join(wanted)
    return Exercise(f"Write a JSON record.\nKeys: {asked}\nText: {text}", json.dumps(chosen))


STATES: dict[str, tuple[str, ...]] = {
    "up": ("rose", "grew", "went up"),
    "down": ("fell", "sank", "went down"),
    "gone": ("left", "ended", "was lost"),
    "still": ("stayed", "rested", "kept still"),
}
"""State -> verbs that tell it."""


def state_of(source: Source) -> Exercise:
    """Tell what one of several things did, as it is told or as a state."""
    things = source.things(1)[:3]
    states = [source.one_of(*STATES) for _ in things]
    verbs = [source.one_of(*STATES[state]) for state in states]
    tail = source.one_of(" .", " in the city .", " for years .")
    text = " ".join(f"{thing} {verb}{tail}" for thing, verb in zip(things, verbs, strict=True))
    index = source.random.randrange(len(things))
    if source.random.random() < 0.5:
        question, answer = "What did {} do ?", verbs[index]
    else:
        question, answer = "Where is {} now ?", states[index]
    return Exercise(
        f"Answer from the text.\nContext: {text}\nQuestion: {question.format(things[index])}",
        answer,
    )


def pick(source: Source) -> Exercise:
    """Pick a thing or an English word from a list by its place."""
    things = source.things(1)
    if source.random.random() < 0.5:
        things = source.random.sample(COMMON_WORDS, len(things))
    index = source.random.randrange(len(things))
    options = [("the first", things[0]), ("the last", things[-1])]
    if index > 0:
        options += [(f"the one after {things[index - 1]}", things[index])] * 2
    if index + 1 < len(things):
        options += [(f"the one before {things[index + 1]}", things[index])]
    words, answer = source.random.choice(options)
    return Exercise(f"List: {', '.join(things)}\nPick {words} .", answer)


SENTENCES = (
    "I saw {} .",
    "My friend has {} . What is it ?",
    "Tell me more about {} .",
    "Where is {} from ?",
    "{} is old . Is it good ?",
    "How do I find {} ?",
)


def shared_name(source: Source) -> Exercise:
    """Tell whether two sentences speak of the same thing, or which thing it is."""
    first = source.names.word(endings=ALL_ENDINGS)
    is_shared = source.random.random() < 0.5
    second = first if is_shared else source.names.word(endings=ALL_ENDINGS)
    text_a, text_b = (source.one_of(*SENTENCES).format(name) for name in (first, second))
    texts = f"Text a: {text_a}\nText b: {text_b}"
    if source.random.random() < 0.5:
        return Exercise(f"Which name is in both texts?\n{texts}", first if is_shared else "None")
    answer = "same" if is_shared else "different"
    return Exercise(f"Do both texts name the same thing?\n{texts}", answer)


KINDS = ("river", "tree", "road", "house", "lake")
FILLERS = (
    "{} was seen by {} in {} .",
    "We went from {} to {} and then to {} .",
    "The {} near {} has a new {} .",
    "{} and {} are far from {} .",
    "{} was old .",
    "The {} of {} was closed .",
)


def list_kinds(source: Source) -> Exercise:
    """List the names that a kind of place follows, with the kind as a mark."""
    found: list[str] = []
    words: list[str] = []
    for word in source.one_of(*FILLERS).split(" "):
        if word != "{}":
            words.append(word)
            continue
        name = source.names.word(endings=ALL_ENDINGS)
        words.append(name)
        if source.random.random() < 0.6:
            kind = source.one_of(*KINDS)
            words.append(kind)
            found.append(f"{name} {kind} <{kind.capitalize()}>")
    answer = ", ".join(found) or "None"
    return Exercise(f"List every place with its type.\nText: {' '.join(words)}", answer)


def list_endings(source: Source) -> Exercise:
    """List the names that end like an example."""
    ending = source.random.choice(NAME_ENDINGS)
    names: list[str] = []
    for _ in range(source.random.randint(1, source.longest)):
        chosen = ending if source.random.random() < 0.5 else source.one_of(*ALL_ENDINGS)
        names.append(source.names.word(endings=(chosen,)))
    example = source.names.word(endings=(ending,))
    found = [name for name in names if name.endswith(ending)]
    text = source.one_of(" and ", ", ", " with ").join(names)
    return Exercise(
        f"List every word that ends like {example} .\nText: {text}", ", ".join(found) or "None"
    )


VERBS = ("search", "list", "create", "delete", "update", "send")


@dataclass(frozen=True, slots=True)
class _Function:
    thing: str
    verb: str
    keys: list[str]
    signature: str


def _library(source: Source) -> list[_Function]:
    functions = []
    for _ in range(source.random.randint(1, 3)):
        thing, verb = source.names.word(num_syllables=(3,)), source.one_of(*VERBS)
        keys = source.keys(source.random.randint(1, 3))
        parameters = ", ".join(f"{key}: {source.one_of('string', 'integer')}" for key in keys)
        functions.append(_Function(thing, verb, keys, f"{thing}_{verb}({parameters})"))
    return functions


TOPICS: dict[str, tuple[str, ...]] = {
    "sport": ("ball", "race", "goal", "coach", "run", "kick", "swim", "match"),
    "food": ("bread", "soup", "rice", "cake", "apple", "milk", "salt", "dinner"),
    "sea": ("ship", "wave", "fish", "sand", "beach", "boat", "shell", "storm"),
    "sky": ("cloud", "star", "moon", "wind", "bird", "sun", "plane", "dawn"),
    "home": ("roof", "door", "bed", "lamp", "chair", "wall", "stove", "garden"),
    "art": ("paint", "drum", "film", "poem", "dance", "opera", "brush", "novel"),
}
"""Topic -> words that tell it."""
TOPIC_SENTENCES = (
    "the {} of {} is {}",
    "{} has a {} and a {}",
    "i want the {} from {} {}",
    "can you give {} the {} {}",
    "{} {} near the {}",
)


def topic_of(source: Source) -> Exercise:
    """Name the topic of a request by the one word that tells it."""
    topic = source.one_of(*TOPICS)
    words = [source.one_of(*TOPICS[topic]), source.names.word(), source.names.word()]
    source.random.shuffle(words)
    text = source.one_of(*TOPIC_SENTENCES).format(*words)
    return Exercise(f"What is it about?\nText: {text}", topic)


def find_function(source: Source) -> Exercise:
    """Find a function in a library by its thing, or tell its parameters."""
    library = _library(source)
    function = source.random.choice(library)
    lines = "\n".join(entry.signature for entry in library)
    name = f"{function.thing}_{function.verb}"
    if source.random.random() < 0.5:
        question = source.one_of("Which one is for {} ?", "I need {} .", "Find the {} line.")
        return Exercise(f"{lines}\n{question.format(function.thing)}", name)
    return Exercise(f"{lines}\nWhat goes into {name} ?", ", ".join(function.keys))


def call_function(source: Source) -> Exercise:
    """Write a call in Python's form."""
    library = _library(source)
    function = source.random.choice(library)
    lines = "\n".join(entry.signature for entry in library)
    given = {key: source.thing() for key in function.keys[: source.random.randint(1, 2)]}
    form = source.one_of("{} {}", "{}={}", "{}: {}")
    told = " and ".join(form.format(key, value) for key, value in given.items())
    arguments = ", ".join(f"{key}={value}" for key, value in given.items())
    request = source.one_of("{verb} {thing} with {told}", "In {thing} {verb} , {told}").format(
        verb=function.verb, thing=function.thing, told=told
    )
    return Exercise(f"{lines}\n{request}", f"{function.thing}_{function.verb}({arguments})")


def _bases(source: Source, count: int) -> str:
    return "".join(source.random.choices("ACGT", k=count))


CUT_SITES = {
    "eco": "GAATTC",
    "bam": "GGATCC",
    "hind": "AAGCTT",
    "pst": "CTGCAG",
    "sal": "GTCGAC",
}
"""Name -> motif of a restriction enzyme's cut site."""


def dna_site(source: Source) -> Exercise:
    """Name the cut site that a sequence holds."""
    bases = _bases(source, source.random.randint(20, 60))
    site = source.one_of(*CUT_SITES, "uncut")
    motif = CUT_SITES.get(site, "")
    start = source.random.randrange(len(bases) - len(motif))
    bases = bases[:start] + motif + bases[start + len(motif) :]
    return Exercise(f"Which enzyme cuts here?\nSequence: <dna>{bases}</dna>", site)


def dna_copy(source: Source) -> Exercise:
    """Copy a short sequence."""
    bases = _bases(source, source.random.randint(6, 24))
    return Exercise(f"Repeat the sequence.\nSequence: <dna>{bases}</dna>", f"<dna>{bases}</dna>")


def dna_common(source: Source) -> Exercise:
    """Name the commonest base."""
    base = source.one_of(*"ACGT")
    weights = [5 if letter == base else 2 for letter in "ACGT"]
    bases = "".join(source.random.choices("ACGT", weights=weights, k=source.random.randint(20, 60)))
    commonest = max("ACGT", key=bases.count)
    return Exercise(f"Which base is most frequent?\nSequence: <dna>{bases}</dna>", commonest)


MIXTURE: dict[ExerciseMaker, float] = {
    copy_line: 2,
    look_up: 1.5,
    write_json: 2,
    state_of: 2,
    topic_of: 1.5,
    pick: 1,
    shared_name: 1.5,
    list_kinds: 1.5,
    list_endings: 1,
    find_function: 1.5,
    call_function: 1.5,
    dna_site: 2,
    dna_copy: 0.5,
    dna_common: 0.5,
}
"""Exercise -> relative number of examples."""


def exercises(seed: int, *, longest: int) -> Iterator[Exercise]:
    """Yield exercises without end.

    Args:
        seed: Start of all random choices.
        longest: Largest number of things in a list; short lists come first in training.
    """
    generator = random.Random(seed)
    source = Source(random=generator, names=NameMaker("train", generator), longest=longest)
    makers, weights = list(MIXTURE), list(MIXTURE.values())
    while True:
        yield generator.choices(makers, weights=weights)[0](source)
