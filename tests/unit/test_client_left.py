"""What one cell of a context leaves behind is no trouble of the next: open files, figures, exported variables."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandyard.client import AsyncSandbox, errors
from sandyard.client.code.contexts import CodeContext
from tests.unit.local_pod import local_pod

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandbox() -> AsyncIterator[AsyncSandbox]:
    async with local_pod() as (_, made):
        yield made


LEAK = {
    "python": ("import resource, os; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)); held = []\n"
               "while True: held.append(open('/dev/null'))", "while held: held.pop().close()\n1 + 1", "1 + 1"),
    "javascript": ("const fs = require('fs'), held = []; for (;;) held.push(fs.openSync('/dev/null'))",
                   "held.splice(0).forEach((one) => fs.closeSync(one)); 1 + 1", "1 + 1"),
}  # fmt: skip


@pytest.mark.parametrize("language", LEAK)
async def test_a_cell_may_leave_no_number_for_a_file(sandbox: AsyncSandbox, language: str) -> None:
    context = await sandbox.contexts.create(language)
    try:
        if language == "javascript":
            # node has no call for it.
            pid = int((await context.run("process.pid")).text or "")
            assert (await sandbox.commands.run(["prlimit", f"--pid={pid}", "--nofile=60:60"])).ok
        leak, clean, value = LEAK[language]
        for _ in range(3):
            failed = await context.run(leak, timeout=20)
            assert failed.error is not None and "oo many open files" in failed.error.value, failed
            done = await context.run(value, timeout=20)
            assert (done.text, done.outcome) == ("2", "success"), done
        slow = {"python": "import time; time.sleep(60)", "javascript": "await new Promise(() => {})"}[language]
        assert (await context.run(slow, timeout=1)).limit == "time"
        assert (await context.run(clean, timeout=20)).text == "2"
        assert (await context.run(value, timeout=20)).text == "2"
    finally:
        await context.remove()


# What closes the kernel's own files too, and takes all of their numbers.
HARD = {
    "python": "import resource, os; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)); os.closerange(3, 40)\n"
              "held = []\nwhile True: held.append(os.open('/dev/null', 0))",
    "bash": "ulimit -n 4",
}  # fmt: skip


@pytest.mark.parametrize("language", HARD)
async def test_where_no_cell_can_run_any_more_the_next_one_is_told(sandbox: AsyncSandbox, language: str) -> None:
    context = await sandbox.contexts.create(language)
    try:
        ended = False
        for code in (HARD[language], "1", "1"):
            ended = ended or await ends(context, code)
        assert ended
        await context.restart()
        assert (await context.run("echo on" if language == "bash" else "print('on')", timeout=20)).stdout == b"on\n"
    finally:
        await context.remove()


async def ends(context: CodeContext, code: str) -> bool:
    """Whether the interpreter ends with this cell, or had ended; in no case is the time of the cell waited for."""
    try:
        done = await context.run(code, timeout=20)
    except errors.ContextEnded:
        return True
    assert done.limit is None, done
    return done.error is not None and done.error.name == "ContextEnded"


PLOT = """
import sys, types
class Figure:
    def __init__(self, number): self.number = number
    def savefig(self, file, **_): file.write(b"picture %d" % self.number)
plt = types.ModuleType("matplotlib.pyplot")
plt.open = {}
plt.figure = lambda number=None: plt.open.setdefault(number or len(plt.open) + 1, Figure(number or len(plt.open) + 1))
plt.get_fignums = lambda: list(plt.open)
plt.close = lambda which: plt.open.clear()
sys.modules["matplotlib.pyplot"] = plt
"""


async def test_figures_are_those_of_their_cell_however_it_ends(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    try:
        assert (await context.run(PLOT)).ok
        failed = await context.run("plt.figure(); 1 / 0")
        assert [one.png for one in failed.results] == [b"picture 1"]
        assert failed.error is not None and failed.error.name == "ZeroDivisionError"
        for code, limit in (("plt.figure(); sys.exit(0)", None), ("plt.figure(); import time; time.sleep(60)", "time"),
                            ("plt.figure().savefig = None", None)):  # fmt: skip
            assert (await context.run(code, timeout=2)).limit == limit
            clean = await context.run("None")
            assert (clean.results, clean.error) == ([], None), code
        assert [one.png for one in (await context.run("plt.figure(7)\nNone")).results] == [b"picture 7"]
    finally:
        await context.remove()


async def test_what_a_bash_cell_exports_is_what_it_was_given(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    (tmp_path / ".env").write_text("A=1\nB='2 3'\n")
    context = await sandbox.contexts.create("bash")
    try:
        await context.run(f"set -a; . {tmp_path}/.env")
        exported = await context.run("C=4; env | grep -i '^_sandyard\\|^[ABC]=' | sort; true " + "x" * 200_000)
        assert (exported.stdout, exported.stderr) == (b"A=1\nB=2 3\nC=4\n", b"")
        assert (await context.run("set +a; D=5; env | grep -c ^D=")).stdout == b"0\n"
    finally:
        await context.remove()
