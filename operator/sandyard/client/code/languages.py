"""The languages of ``run_code``: how a program of each is run, and how its ``main`` is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["LANGUAGES", "Language", "files", "name_of", "of", "unknown"]


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes
    ----------
    file
        Name of the program's file.
    runners
        Programs that can run it, the first that the image has is taken, each with its shell command.
    call
        Added to the program when there are arguments: calls ``main`` and writes what it returns.
    """

    file: str
    runners: Mapping[str, str]
    call: str = ""


# The program is __main__ to its end, for whatever looks its functions and classes up there (pickle, processes).
_PYTHON_RUNNER: Final = """
import asyncio, inspect, json, os, sys, types
path = os.path.abspath("main.py")
def told(kind, error, trace):
    import traceback
    while trace and trace.tb_frame.f_code.co_filename != path: trace = trace.tb_next
    traceback.print_exception(kind, error, trace)
sys.excepthook = told
main = sys.modules["__main__"] = types.ModuleType("__main__")
main.__file__ = path
with open(path, "rb") as file:
    program = file.read()
exec(compile(program, path, "exec"), main.__dict__)
with open(os.environ["SANDYARD_ARGS"]) as file:
    args = json.load(file)
value = main.main(**args) if isinstance(args, dict) else main.main(*args)
if inspect.isawaitable(value):
    async def wait(): return await value
    value = asyncio.run(wait())
with open(os.environ["SANDYARD_RESULT"], "w") as file:
    json.dump(value, file)
"""
_SCRIPT_CALL: Final = """
;(async () => {
  // Not those that the program may have declared: "function process". By name: compiled to require it has no default.
  const [fs, { env }] = [await import('node:fs'), await import('node:process')];
  const { Array, JSON, console } = globalThis;
  const args = JSON.parse(fs.readFileSync(env.SANDYARD_ARGS, 'utf8'));
  // @ts-ignore
  const value = await (Array.isArray(args) ? main(...args) : main(args));
  fs.writeFileSync(env.SANDYARD_RESULT, JSON.stringify(value === undefined ? null : value));
})().catch((error) => { console.error(error); process.exit(1); });
"""
_RUBY_CALL: Final = """
require 'json'
args = JSON.parse(File.read(ENV['SANDYARD_ARGS']))
value = args.is_a?(Array) ? main(*args) : main(**args.transform_keys(&:to_sym))
File.write(ENV['SANDYARD_RESULT'], JSON.generate(value))
"""
# Older nodes run TypeScript only once it is compiled; types that are wrong are the editor's business.
_TSC: Final = "tsc --target es2020 --module commonjs --noEmitOnError false main.ts >/dev/null || :; exec node main.js"

LANGUAGES: Final[Mapping[str, Language]] = {
    # No variable of the image changes how it runs (-E), no bytecode is left (-B); what a setup has installed for the
    # user is there.
    "python": Language("main.py", {"python3": "exec python3 -E -B {file}", "python": "exec python -E -B {file}"},
                       _PYTHON_RUNNER),
    "javascript": Language("main.js", {"node": "exec node {file}", "bun": "exec bun {file}",
                                       "deno": "exec deno run -A {file}"}, _SCRIPT_CALL),
    "typescript": Language("main.ts", {"bun": "exec bun main.ts", "deno": "exec deno run -A main.ts",
                                       "tsx": "exec tsx main.ts", "tsc": _TSC,
                                       "node": "exec node --experimental-strip-types main.ts"}, _SCRIPT_CALL),
    "go": Language("main.go", {"go": "GOCACHE=${{GOCACHE:-/tmp/.go-cache}} GOFLAGS=-mod=mod exec go run main.go",
                               "/usr/local/go/bin/go": "GOCACHE=/tmp/.go-cache exec /usr/local/go/bin/go run main.go"}),
    "rust": Language("main.rs", {"rustc": "rustc -C debuginfo=0 -o main main.rs && exec ./main"}),
    "bash": Language("main.sh", {"bash": "exec bash main.sh", "sh": "exec sh main.sh"}),
    "ruby": Language("main.rb", {"ruby": "exec ruby main.rb"}, _RUBY_CALL),
}  # fmt: skip
# Variables by which Python runs; of them only those stay that were given for the program.
_PYTHON_NAME: Final = re.compile("PYTHON[A-Z0-9_]*")
_KEPT: Final = """for v in $(env | sed -n 's/^\\(PYTHON[A-Z0-9_]*\\)=.*/\\1/p'); do
case " {names} " in *" $v "*) ;; *) unset "$v" ;; esac
done"""
_NAMES: Final = {"py": "python", "python3": "python", "js": "javascript", "node": "javascript", "ts": "typescript",
                 "golang": "go", "rs": "rust", "sh": "bash", "shell": "bash", "rb": "ruby"}  # fmt: skip
# Statements that modules alone have, where "" stands for any text; or what only a module may ask about itself.
_IMPORT: Final = re.compile(
    r"""(?:^|[;}])\s*(?:import(?:\s+[\w$]|\s*[*{]|\s*"")|export(?:\s*[*{]|\s+(?:default|async|class|const|function|let|var)\b))"""
    r"""|(?<![.\w$])import\.meta\b""",
    re.MULTILINE,
)
# What modules have not.
_REQUIRE: Final = re.compile(r"(?<![.\w$])(?:require\s*[(.]|module\.exports|exports\.|__dirname\b|__filename\b)")
_WORDS: Final = re.compile(r"[\w$]+|=>|[^\S\n]+|.", re.DOTALL)
# After these, what is in braces is no function.
_BLOCKS: Final = frozenset(["if", "for", "while", "switch", "catch", "with", "await"])
# What is text or comment in JavaScript, or a regular expression where one may stand; and what begins or ends a part.
# Each has an end, if need be that of the line or of all: a program without ends costs no more time than another.
_PARTS: Final = re.compile(
    r"""'(?:\\.|[^'\\\n])*'?|"(?:\\.|[^"\\\n])*"?|/\*.*?(?:\*/|\Z)|//[^\n]*"""
    r"""|(?:^|[(,=:\[!&|?;]|\breturn)\s*/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]?|[^/\\\[\n])*/?|[`{}]""",
    re.DOTALL,
)
_TEMPLATE: Final = re.compile(r"\\.|`|\$\{", re.DOTALL)


def of(name: str) -> Language | None:
    """The language of that name, or of a usual short one."""
    known = name.lower() if isinstance(name, str) else ""
    return LANGUAGES.get(_NAMES.get(known, known))


def name_of(language: Language) -> str:
    """Its own name, whichever it was asked for by."""
    return next(name for name, one in LANGUAGES.items() if one is language)


def unknown(name: str) -> str:
    """What to say of a *name* that no language has."""
    return f"unknown language {name!r}; use one of {', '.join(LANGUAGES)}"


def files(language: Language, code: str, *, called: bool, given: str = "", names: Iterable[str] = ()) -> dict[str, str]:
    """What to write into the folder of a run: the program, how to run it, and what calls it.

    *given* are ``NAME=VALUE`` words, quoted, for variables that no shell can set; *names* are of all that are given.
    """
    file, program, made = language.file, code, {}
    if called and language.call:
        if file == "main.py":
            made["call.py"] = language.call
        else:
            program = code + language.call
    # Modules of the newer kind are known by the name of their file.
    if file == "main.js" and _is_module(_statements(code)):
        file = "main.mjs"
    run = "call.py" if "call.py" in made else file
    # Its first argument is more of the same, from the pod.
    lines = ['eval "set -- $1"', f'set -- "$@" {given}', '[ $# = 0 ] || set -- env -- "$@"']
    runners = dict(language.runners)
    if language.file == "main.py" and (own := [name for name in names if _PYTHON_NAME.fullmatch(name)]):
        # Those of the image still change nothing.
        lines.append(_KEPT.format(names=" ".join(own)))
        runners = {runner: command.replace(" -E", "") for runner, command in runners.items()}
    for runner, command in runners.items():
        begun = command.format(file=run).replace("exec ", 'exec "$@" ')
        lines.append(f"command -v {runner} >/dev/null && {{ {begun}; exit; }}")
    missing = f": >no-runner; echo 'this image has none of: {', '.join(language.runners)}' >&2; exit 127"
    return {file: program, **made, "runner.sh": "\n".join([*lines, missing, ""])}


def _is_module(statements: str) -> bool:
    """Whether only a module can be meant; newer versions of node find that out themselves."""
    return _IMPORT.search(statements) is not None or (_REQUIRE.search(statements) is None and _waits(statements))


def _waits(statements: str) -> bool:
    """Whether it awaits something outside of every function."""
    # What is open: a function "f", the expression that an arrow leads to "a", another brace or bracket with what was
    # before it.
    opened, before, last, line = list[str](), list[str](), "", False
    for word in _WORDS.findall(statements):
        if word.isspace():
            line = line or "\n" in word
            continue
        if "a" in opened[-1:] and (word in ",;)]}" or (line and last[-1:] not in "=>+-*/.?:&|(" and word[0].isalnum())):
            while opened[-1:] == ["a"]:
                opened.pop()
        if last == "=>" and word != "{":
            opened.append("a")
        if word == "await" and last != "." and not {"f", "a"} & set(opened):
            return True
        if word in ("(", "["):
            opened.append(last)
        elif word in (")", "]", "}") and opened:
            before.append(opened.pop())
        elif word == "{":
            is_function = last == "=>" or (last == ")" and before[-1:] and before[-1] not in _BLOCKS)
            opened.append("f" if is_function else "")
        last, line = word, False
    return False


def _statements(code: str) -> str:
    """JavaScript without its comments, and with "" for its texts, in which nothing is a statement."""
    left, place = list[str](), 0
    # What is open: templates, and braces. How many of the former there are.
    opened, templates = list[str](), 0
    while True:
        within = opened[-1:] == ["`"]
        found = (_TEMPLATE if within else _PARTS).search(code, place)
        if not templates:
            left.append(code[place : found.start() if found is not None else None])
        if found is None:
            return "".join(left)
        part, place = found[0], found.end()
        if not templates and part != "`":
            left.append(_left(part))
        if part == "}" or (within and part == "`"):
            templates -= within
            del opened[-1:]
        elif part in ("`", "{", "${"):
            templates += part == "`"
            opened.append(part[-1])


def _left(part: str) -> str:
    """What stays of a part."""
    if part in "{}":
        return part
    if part.startswith(("//", "/*")):
        return "\n" if "\n" in part else " "
    # Before a regular expression stands what makes it one.
    return f'{part[: part.index("/")]}""' if part[0] not in "'\"" else '""'
