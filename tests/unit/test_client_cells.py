"""Whatever a cell does to its interpreter, the next one runs; what it shows comes back as far as it can be read."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from sandyard.client import AsyncSandbox

pytestmark = pytest.mark.timeout(90)


# Each does what would end an interpreter that trusted its cells.
UNKIND = [
    "import sys; del sys.stdout", "import sys\nclass S:\n    closed = property(lambda self: 1 / 0)\nsys.stderr = S()",
    "class E(Exception):\n    def __str__(self): raise SystemExit\nraise E",
    "class M(type):\n    __name__ = property(lambda self: 1 / 0)\nclass E(Exception, metaclass=M): pass\nraise E",
    "class R:\n    def __repr__(self): raise SystemExit(3)\nR()",
    "class R:\n    def __repr__(self): return 5\nR()", "raise SystemExit([])",
    "import builtins; builtins.open = None", "import os; os.closerange(3, 64)", "globals().clear()",
    "import sys; sys.setrecursionlimit(60)", "import os; os.environ.clear()", "for n in range(5000): display(n)",
]  # fmt: skip


async def test_whatever_a_cell_does_to_its_interpreter_the_next_one_runs(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    for cell in UNKIND:
        done = await context.run(cell, timeout=20)
        assert done.error is None or done.error.name != "ContextEnded", (cell, done)
        after = await context.run("print('alive'); 1 + 1", timeout=20)
        assert (after.outcome, after.text, after.stdout) == ("success", "2", b"alive\n"), (cell, after)


ODD_FORMS = """
class Odd:
    def _repr_mimebundle_(self, **_):
        return {5: "a", "text/html; charset=x": "b", "text/x-good": "c", "image/png": "eA=="}
    def _repr_json_(self): return object()
    def __repr__(self): return "odd"
Odd()
"""


async def test_a_form_that_nobody_can_read_spoils_no_other(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    done = await context.run(ODD_FORMS)
    assert done.outcome == "success"
    (shown_,) = done.results
    assert (shown_.text, shown_.png, shown_.data["text/x-good"]) == ("odd", b"x", "c")
    assert len(done.skipped) == 3
    mock = await context.run("from unittest.mock import Mock; Mock(name='m')")
    assert mock.outcome == "success" and (mock.text or "").startswith("<Mock name='m'")
    long = await context.run("print('said'); '\\u4e2d' * 2_000_000")
    assert len(long.text or "") == 2_000_002
    longer = await context.run("display('\\0' * 2_000_000); raise ValueError('told')")
    assert longer.error is not None and longer.error.value == "told" and "too much" in longer.skipped[0]


async def test_a_cell_that_floods_is_ended_and_the_context_stays(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    await context.run("kept = 5")
    for flood in ("while True: print('x' * 1000)", "import os; os.system('yes')", "print('x' * 10_000_000)"):
        async with asyncio.timeout(45):
            done = await context.run(flood, output_limit=100_000, timeout=30)
        assert (done.limit, len(done.stdout)) == ("output", 100_000), flood
        assert done.error is None or done.error.name == "KeyboardInterrupt", (flood, done.error)
        assert (await context.run("kept")).text == "5"


async def test_a_child_of_a_cell_ends_as_it_would_elsewhere(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    for end, code, said in (("sys.exit(7)", 7, b""), ("sys.exit('why')", 1, b"why\n"), ("1 / 0", 1, b"ZeroDivision"),
                            ("sys.exit()", 0, b""), ("pass", 0, b"")):  # fmt: skip
        done = await context.run(
            f"import os, sys\npid = os.fork()\nif not pid: {end}\nelse: got = os.waitpid(pid, 0)[1]"
        )
        assert done.outcome == "success" and said in done.stderr, done
        assert b"kernel.py" not in done.stderr
        assert (await context.run("os.waitstatus_to_exitcode(got)")).text == str(code), end


async def test_an_interrupt_reaches_a_cell_after_one_that_was_deaf(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    await context.run("import signal; kept = 5; signal.signal(signal.SIGINT, signal.SIG_IGN)")
    done = await context.run("while True: pass", timeout=1)
    assert done.error is not None and done.error.name == "KeyboardInterrupt"
    assert (await context.run("kept")).text == "5"


async def test_a_bash_cell_with_any_option_is_told_and_interrupted(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create("bash")
    for option in ("-C", "-u", "-f", "-o posix"):
        await context.run(f"set {option}; kept=5")
        done = await context.run("sleep 60", timeout=1)
        assert (done.limit, done.error) == ("time", None), option
        assert (await context.run("echo $kept")).stdout == b"5\n", option
    await context.run("set -x")
    traced = await context.run("echo a")
    assert (traced.stdout, traced.stderr.lstrip(b"+ ")) == (b"a\n", b"echo a\n")


async def test_javascript_survives_what_cannot_be_shown(sandbox: AsyncSandbox) -> None:
    if shutil.which("node") is None:
        return
    context = await sandbox.contexts.create("javascript")
    inspected = "{ [Symbol.for('nodejs.util.inspect.custom')]() { throw new Error('no') } }"
    for cell, name in (
        (f"({inspected})", "Error"), (f"throw {inspected}", "object"), ("throw null", "object"),
        ("throw undefined", "undefined"), ("const e = new Error('x'); Object.defineProperty(e, 'name', "
         "{ get() { throw 1 } }); throw e", "Error"),
        ("throw new Proxy({}, { getPrototypeOf() { throw 1 } })", "object"),
        ("throw new Error('a', { cause: new Error('EACCES: b') })", "Error"),
    ):  # fmt: skip
        done = await context.run(cell, timeout=20)
        assert done.error is not None and done.error.name == name, (cell, done)
        assert (await context.run("1 + 1", timeout=20)).text == "2", cell
    await context.run(f"Promise.reject({inspected}); JSON.stringify = null; for (let n = 0; n < 5000; n++) display(n)")
    odd = "({ [Symbol.for('Jupyter.display')]: () => ({ '5': 'a', 'text/plain': 'b', 'application/json': 1n }) })"
    done = await context.run(odd)
    assert (done.text, len(done.skipped)) == ("b", 2), done


# Each puts something in the place of what its interpreter has open, or takes away what it would tell its end by.
REMOVAL = "import os, shutil; shutil.rmtree(os.path.dirname(os.environ['SANDYARD_ARTIFACTS']))"
CHANNELS = [
    "import os; [os.dup2(1, n) for n in range(3, 64)];",
    "import os; null = os.open(os.devnull, os.O_RDWR); [os.dup2(null, n) for n in range(3, 64)];", REMOVAL,
]  # fmt: skip


@pytest.mark.parametrize("does", CHANNELS)
async def test_the_end_of_a_cell_is_known_whatever_it_does_to_the_ways_it_is_told_by(
    sandbox: AsyncSandbox, does: str
) -> None:
    context = await sandbox.contexts.create()
    done = await context.run(f"kept = 7\n{does}", timeout=20)
    assert (done.outcome, done.error) == ("success", None), done
    assert (await context.run("kept", timeout=20)).text == "7"


async def test_a_cell_that_has_taken_its_folder_away_is_interrupted_all_the_same(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    assert (await context.run(f"kept = 7\n{REMOVAL}\nwhile True: pass", timeout=2)).limit == "time"
    assert (await context.run("kept", timeout=20)).text == "7"


async def test_a_semicolon_at_the_end_keeps_the_value_to_itself(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    for cell, text in (("5;", None), ("x = 6\nx;  # of IPython", None), ("x", "6"), ("';'", "';'"), ("5 # ;", "5")):
        done = await context.run(cell, timeout=20)
        assert (done.outcome, done.text) == ("success", text), cell


async def test_what_only_ipython_knows_is_named(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    for cell in ("%matplotlib inline\n1", "!ls", "x = !ls", "%%bash\nls", "print?"):
        done = await context.run(cell, timeout=20)
        assert done.error is not None and "are IPython's" in done.error.value, (cell, done)
    done = await context.run("5 +", timeout=20)
    assert done.error is not None and "IPython" not in done.error.value


async def test_an_import_from_the_future_stays(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    await context.run("from __future__ import annotations", timeout=20)
    assert (await context.run("def f(x: Nowhere): pass\nf.__annotations__", timeout=20)).text == "{'x': 'Nowhere'}"


async def test_a_javascript_cell_may_close_its_output_and_an_import_is_told_what_to_use(sandbox: AsyncSandbox) -> None:
    if shutil.which("node") is None:
        return
    context = await sandbox.contexts.create("javascript")
    for before in ("", "require('fs').closeSync(1);"):
        await context.run(before, timeout=20)
        for call in ("execSync('echo hi', ", "spawnSync('echo', ['hi'], ", "execFileSync('echo', ['hi'], "):
            done = await context.run(f"require('child_process').{call}{{stdio: 'inherit'}}); 5", timeout=20)
            assert (done.outcome, done.text, done.stdout) == ("success", "5", b"hi\n"), call
    for cell in ("import fs from 'fs'", "import 'fs'"):
        done = await context.run(cell, timeout=20)
        assert done.error is not None and "use require('...')" in done.error.value, done
