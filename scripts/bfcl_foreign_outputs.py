"""Mutated model outputs for BFCL's Java and JavaScript rows; used by `make_bfcl_golden.py`."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
Value = Any


def _words(text: str) -> list[str]:
    """Split at blanks; `:` stands for a blank within a word."""
    return text.split()


JAVA_ODD = _words("""
5 5L 5l 5f 5.0 5.5F 5.5d -5 -5L +5 1e3 1e3f 0x1F 1_000 true True TRUE false null 'a' '' "" "a"
"it's" "\\"q\\"" "é" é word a.b a.b() a.b(1,2) f(x) String.class int[].class (int)5 x->x a+b 1+2
-x !x new:Object() new:int[]{} new:int[]{1,:2} new:int[3] new:int[2][2] {1,:2}
new:String[]{"a",:"b"} new:String[]{a,:b} List.of(1,2) Arrays.asList("a",:"b") Map.of("a",1)
new:ArrayList<>() new:ArrayList<String>(Arrays.asList("a",:"b")) new:ArrayList<>(List.of(1))
new:ArrayList<Integer>(){{add(1);:add(2);}} new:ArrayList<Integer>():{{:add(1);:add(2);:}}
new:HashMap<>() new:HashMap<String,:Object>():{{:put("a",:1);:put("b",:"x");:}}
new:HashMap<String,Object>(){{put("a",1);}} a?b:c x:instanceof:Y a[0] this this.x null;
"a":+:"b" ""\"a""\" 5;6 @A x=5 new:char[]{'a'} new:Object[]{1,:"a",:true} new:long[]{1L,2L}
new:float[]{1f} new:double[]{1.5,2} 123456789012345678901234567890 1e999 ١٢
""")
SCRIPT_ODD = _words("""
5 5n -5n 5.0 5.5 -5 +5 1e3 0x1F 1_000 true True false null undefined NaN 'a' '' "" "a" `a`
`a${b}` "it's" 'it\\'s' é "é" word a.b a.b() f(x) x=>x function(){} ()=>{} [1,:2] [] [[]]
[[1,:2],:[3]] [:[1],[2]:] new:Array(1,2) new:Array() new:Array([1],[2]) [1,:'a',:true] ['a','b']
[a,b] ['a,b'] {a:1} {'a':1} {"a":1,"b":'x'} {a:[1,2],b:3} {a:{b:1}} {} {a} {...x} [...x]
{a:1,b:[1,2],c:true} {:a:::1:} [1n] [1.5] [1,] [{a:1}] /x/ a?b:c 1+2 !x typeof:x await:x x++
a[0] (1,2) (5) new:Date() new:Map() async:()=>1 class{} 'a'+'b' 5;6 x=5 [[1],[2]]x [[1]x],[2]]
{a:'x,y:z'} {'a:b':1} {a:1,} {"k":"v"} 123456789012345678901234567890 1e999 ١٢ Infinity
""")


def odd_value(rng: random.Random, language: str) -> str:
    """Return source text that the official readers treat in some particular way."""
    if language == "java":
        return rng.choice(JAVA_ODD).replace(":", " ").replace("a? b c", "a ? b : c")
    return rng.choice(SCRIPT_ODD).replace(":::", " : ")


def java_source(rng: random.Random, value: Value, declared: Row) -> str:
    """Return Java source of a right value, in one of the spellings models use."""
    kind = declared.get("type", "any")
    if isinstance(value, bool):
        return str(value).lower()
    if kind in ("Array", "ArrayList") and isinstance(value, list):
        item = declared.get("items", {})
        return _java_collection(rng, kind, [java_source(rng, each, item) for each in value], value)
    if isinstance(value, dict):
        body = " ".join(f'put("{key}", {_guessed(rng, item)});' for key, item in value.items())
        return f"new HashMap<String, Object>() {{{{ {body} }}}}"
    if isinstance(value, int | float):
        suffix = {"long": "L", "float": "f"}.get(kind, "")
        return str(value) + (suffix if rng.random() < 0.8 else rng.choice(["", "L", "f", "d"]))
    if kind in ("String", "any", "char") and isinstance(value, str):
        bare = kind == "any" and rng.random() < 0.6
        return value if bare else json.dumps(value, ensure_ascii=False)
    return str(value)


def _java_collection(rng: random.Random, kind: str, items: list[str], values: list[Value]) -> str:
    if rng.random() < 0.5:
        items = [item.strip('"') for item in items]
    joined = ", ".join(items)
    if kind == "Array":
        name = "String" if values and isinstance(values[0], str) else "int"
        return rng.choice([f"new {name}[]{{{joined}}}", f"new {name}[] {{{joined}}}"])
    adds = " ".join(f"add({item});" for item in items)
    return rng.choice(
        [
            f"new ArrayList<String>(Arrays.asList({joined}))",
            f"new ArrayList<>(Arrays.asList({joined}))",
            f"new ArrayList<Integer>() {{{{ {adds} }}}}",
            f"Arrays.asList({joined})",
        ]
    )


def _guessed(rng: random.Random, options: Value) -> str:
    value = rng.choice(options) if isinstance(options, list) and options else options
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, str) else str(value)


def script_source(rng: random.Random, value: Value, declared: Row) -> str:
    """Return JavaScript source of a right value, in one of the spellings models use."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        items = [script_source(rng, item, declared.get("items", {})) for item in value]
        joined = rng.choice([", ", ","]).join(items)
        return rng.choice([f"[{joined}]", f"[{joined}]", f"new Array({joined})"])
    if isinstance(value, dict):
        quote = rng.choice(["", '"', "'"])
        pairs = [
            f"{quote}{key}{quote}: {script_source(rng, rng.choice(options), {})}"
            for key, options in value.items()
            if isinstance(options, list) and options
        ]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, int | float):
        return (
            f"{value}n" if declared.get("type") == "Bigint" and rng.random() < 0.8 else str(value)
        )
    if declared.get("type") == "any" and rng.random() < 0.6:
        return str(value)
    return rng.choice([json.dumps(value, ensure_ascii=False), f"'{value}'", str(value)])


def right_call(rng: random.Random, entry: Row, language: str) -> tuple[str, dict[str, Value]]:
    """Return a right answer: the name, and the source text of each argument."""
    ((name, parameters),) = entry["ground_truth"][0].items()
    declared = entry["function"][0]["parameters"]["properties"]
    arguments: dict[str, Value] = {}
    for parameter, options in parameters.items():
        option = rng.choice(options)
        if option == "" and rng.random() < 0.9:
            continue
        source = java_source if language == "java" else script_source
        arguments[parameter] = source(rng, option, declared.get(parameter, {}))
    return name, arguments


def make_foreign_output(
    rng: random.Random, entry: Row, language: str, render_format: Callable[[list[Row]], str] | None
) -> str:
    """Return one output: right, or changed in a few places.

    Args:
        rng: Source of chance.
        entry: Question row with `function` and `ground_truth`.
        language: `java` or `javascript`.
        render_format: Renders JSON calls; `None` for calls written in the language.
    """
    name, arguments = right_call(rng, entry, language)
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        name, arguments = _change(rng, name, arguments, language)
    if render_format is not None:
        if rng.random() < 0.6:
            # Function-calling models write texts without quotes, and JSON values for the rest.
            arguments = {key: _unquoted(value) for key, value in arguments.items()}
        if rng.random() < 0.15 and arguments:
            arguments[rng.choice(list(arguments))] = rng.choice(
                [1, 1.5, True, None, ["a"], {"a": 1}]
            )
        return render_format([{"name": name, "arguments": arguments}])
    return _spoil(rng, f"{name}({', '.join(f'{key}={item}' for key, item in arguments.items())})")


def _unquoted(value: Value) -> Value:
    is_quoted = isinstance(value, str) and len(value) > 1 and value[0] == value[-1] in "\"'"
    return value[1:-1] if is_quoted else value


def _change(
    rng: random.Random, name: str, arguments: dict[str, Value], language: str
) -> tuple[str, dict[str, Value]]:
    kind = rng.randrange(9)
    changed = dict(arguments)
    key = rng.choice([*changed, "extra"])
    if kind == 0:
        name = rng.choice([name + "s", name.replace(".", "_"), name.rpartition(".")[2], "other"])
    elif kind == 1:
        changed.pop(key, None)
    elif kind == 2:
        changed["extra"] = "1"
    elif kind in (3, 4, 5):
        changed[key] = odd_value(rng, language)
    elif kind == 6 and key in changed:
        changed[key] = changed[key].upper()
    elif kind == 7 and key in changed:
        middle = rng.randrange(len(changed[key]) + 1)
        mark = rng.choice([" ", "\n", ",", "é", "'", '"', "L", ".0", "\t"])
        changed[key] = changed[key][:middle] + mark + changed[key][middle:]
    else:
        changed = dict(reversed(changed.items()))
    return name, changed


def _spoil(rng: random.Random, call: str) -> str:
    if rng.random() < 0.6:
        return f"[{call}]"
    return rng.choice(
        [
            call,
            f"```{call}```",
            f"```java\n{call}\n```",
            f"[{call};]",
            f"{call};",
            f"Here: {call}",
            f"[{call}, {call}]",
            f"{call}\n{call}",
            f"[{call}",
            call[:-1],
            call.replace("=", " = "),
            call.replace("=", ": "),
            call.replace("(", "(x, ", 1),
            call.replace("(", "(x, y, ", 1),
            call.replace("(", "(true, ", 1),
            call.replace("(", "(5, ", 1),
            call.replace(", ", ",\n  "),
            f"// call\n{call}",
            f"var x = {call};",
            f"return {call}",
            f"é {call}",
            f"outer({call})",
            f"[[{call}]]",
            call.replace("(", "(a=1, a=2, ", 1),
        ]
    )
