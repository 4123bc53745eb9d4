"""Contexts keep what their cells set, and nothing that a cell does is an exception of the client's."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.client import AsyncSandbox, errors
from sandyard.client.code import contexts
from sandyard.client.code.shown import shown
from tests.unit.local_pod import LocalPod

pytestmark = pytest.mark.timeout(60)


async def test_variables_imports_functions_and_the_folder_stay(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create(cwd="/tmp", env={"GREETING": "hello"})
    await context.run("import os, math\nx = 40\ndef add(n): return x + n\nos.chdir('/usr')")
    done = await sandbox.run_code("print(os.environ['GREETING'], os.getcwd())\nadd(2)", context=context)
    assert (done.outcome, done.text, done.stdout) == ("success", "42", b"hello /usr\n")
    assert (await context.run("_ + 1")).text == "43"
    assert (await context.run("y = await __import__('asyncio').sleep(0, 7)\ny")).text == "7"
    assert (await context.run("x = 1")).results == []
    assert [one.running for one in await sandbox.contexts.list() if one.id == context.id] == [True]
    await context.remove()
    with pytest.raises(errors.ContextNotFound):
        await context.run("1")
    with pytest.raises(errors.ContextNotFound):
        await sandbox.contexts.connect(context.id)


async def test_an_error_has_its_name_its_value_and_the_lines_of_the_cells(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    await context.run("def divide(n):\n    return 1 / n")
    done = await context.run(
        "x = 1\ntry:\n    divide(0)\nexcept ZeroDivisionError as e:\n    raise ValueError('no') from e"
    )
    assert done.error is not None and done.outcome == "program_error"
    assert (done.error.name, done.error.value) == ("ValueError", "no")
    assert "return 1 / n" in done.error.traceback and "<cell 2>" in done.error.traceback
    assert "kernel.py" not in done.error.traceback
    for text, name in (("def f(:", "SyntaxError"), ("raise SystemExit('out')", "SystemExit"),
                       ("await __import__('asyncio').wait_for(__import__('asyncio').sleep(9), 0)", "TimeoutError"),
                       ("def f(): return f()\nf()", "RecursionError")):  # fmt: skip
        done = await context.run(text)
        assert done.error is not None and done.error.name == name, done
        assert "kernel.py" not in done.error.traceback and "asyncio/base_events" not in done.error.traceback
    assert (await context.run("x")).text == "1"
    assert (await context.run("open('/proc/1/mem', 'wb'); raise PermissionError('Permission denied')")).outcome in (
        "unauthorized_access", "program_error")  # fmt: skip


RICH = """
class Table:
    def _repr_html_(self): return "<table></table>"
    def _repr_markdown_(self): return "| a |"
    def _repr_png_(self): return bytes(range(256))
    def _repr_svg_(self): return "<svg/>"
    def _repr_json_(self): return {"a": [1, 2]}
    def _repr_latex_(self): raise RuntimeError("no")
    def __repr__(self): return "a table"
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None): return {"text/plain": "b", "text/x-own": "o"}, {}
display(Bundle(), 5)
Table()
"""


async def test_a_result_comes_in_each_form_in_which_it_shows_itself(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    bundle, number, table = (await context.run(RICH)).results
    assert (bundle.text, bundle.data["text/x-own"], bundle.main) == ("b", "o", False)
    assert (number.text, number.main) == ("5", False)
    assert (table.text, table.html, table.markdown, table.svg) == ("a table", "<table></table>", "| a |", "<svg/>")
    assert (table.png, table.json, table.latex, table.main) == (bytes(range(256)), {"a": [1, 2]}, None, True)
    done = await context.run("'x' * (9 * 1024 * 1024)")
    assert done.results == [] and "too much" in done.skipped[0]


async def test_output_comes_as_it_is_written_also_of_what_a_cell_starts(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    said: list[tuple[float, bytes]] = []
    program = "import os, sys, time\nprint('one')\ntime.sleep(1)\n"
    program += "os.system('echo two; echo three >&2')\nprint('end', end='')"
    done = await context.run(program, on_stdout=lambda data: said.append((time.monotonic(), data)))
    assert (done.stdout, done.stderr) == (b"one\ntwo\nend", b"three\n")
    assert said[0][1] == b"one\n" and said[-1][0] - said[0][0] > 0.8
    late = await context.run("import subprocess; subprocess.Popen(['sh', '-c', 'sleep 20; echo late']); print('now')")
    assert late.stdout == b"now\n" and late.duration < 10
    assert (await context.run("sys.stdout.close(); os.close(1)")).outcome == "success"
    assert (await context.run("print('again')")).stdout == b"again\n"


async def test_a_forked_child_of_a_cell_runs_no_later_cell(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    parent = (await context.run("import os; n = 0; print(os.getpid())")).stdout
    await context.run("child = os.fork()\nif child: os.waitpid(child, 0)", timeout=20)
    for turn in (1, 2, 3):
        done = await context.run("n += 1; print(os.getpid())\nn", timeout=20)
        assert (done.stdout, done.text) == (parent, str(turn))


@pytest.mark.parametrize(
    "cell", ["while True: pass", "import time; time.sleep(60)", "import os; os.system('sleep 60')",
             "import asyncio; await asyncio.sleep(60)", "import subprocess; subprocess.run(['sleep', '60'])"],
)  # fmt: skip
async def test_the_time_of_a_cell_interrupts_it_and_keeps_the_context(sandbox: AsyncSandbox, cell: str) -> None:
    context = await sandbox.contexts.create()
    await context.run("kept = 5")
    done = await context.run("print('begun')\n" + cell, timeout=1)
    assert (done.outcome, done.limit, done.stdout) == ("resource_limit_exceeded", "time", b"begun\n")
    # What system() runs is interrupted, and not the cell.
    assert done.error is None or done.error.name == "KeyboardInterrupt", done
    assert (await context.run("kept")).text == "5"


async def test_a_cell_that_will_not_end_takes_its_interpreter_with_it(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    await context.run("gone = 5")
    stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    done = await context.run(stubborn, timeout=1)
    assert (done.outcome, done.limit) == ("resource_limit_exceeded", "time")
    assert done.error is not None and done.error.name == "ContextEnded"
    with pytest.raises(errors.ContextEnded, match="restart"):
        await context.run("gone")
    await context.restart()
    assert (await context.run("'gone' in dir()")).text == "False"


@pytest.mark.parametrize(
    ("cell", "code"),
    [("import os; os._exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137), ("import os; os.abort()", 134)],
)
async def test_an_interpreter_that_ends_says_so_once_and_at_every_later_call(
    sandbox: AsyncSandbox, cell: str, code: int
) -> None:
    context = await sandbox.contexts.create()
    waiting = asyncio.gather(context.run("import time; time.sleep(1)\n" + cell), return_exceptions=True)
    await asyncio.sleep(0.3)
    behind = await asyncio.gather(context.run("print('never')"), return_exceptions=True)
    (done,) = await waiting
    assert not isinstance(done, BaseException)
    assert (done.outcome, done.exit_code) == ("runtime_error", code)
    assert done.error is not None and done.error.name == "ContextEnded" and "variables" in done.error.value
    assert isinstance(behind[0], BaseException) or behind[0].error is not None
    with pytest.raises(errors.ContextEnded) as caught:
        await context.run("1")
    assert caught.value.exit_code == code
    with pytest.raises(errors.ContextEnded):
        await context.interrupt()
    (info,) = [one for one in await sandbox.contexts.list() if one.id == context.id]
    assert (info.exit_code, info.running) == (code, False)
    await context.restart()
    assert (await context.run("1 + 1")).text == "2"


async def test_another_client_finds_it_and_interrupts_it(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    pod, sandbox = inside
    context = await sandbox.contexts.create()
    other = AsyncSandbox(sandbox._session.cluster, pod.body, own_cluster=False, ends=False)
    found = await other.contexts.connect(context.id)
    await found.run("shared = 1")
    begun = asyncio.Event()
    running = asyncio.create_task(
        context.run("print('go', flush=True)\nimport time; time.sleep(60)", on_stdout=lambda _: begun.set())
    )
    await asyncio.wait_for(begun.wait(), 20)
    await found.interrupt()
    done = await running
    assert done.error is not None and (done.outcome, done.error.name) == ("program_error", "KeyboardInterrupt")
    assert (await other.run_code("shared", context=context.id)).text == "1"
    await found.interrupt()
    assert (await context.run("shared")).text == "1"
    await context.remove()
    await other.close()


async def test_one_that_waits_its_turn_in_vain_interrupts_nobody(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    begun = asyncio.Event()
    long = asyncio.create_task(
        context.run("print(1, flush=True)\nimport time; time.sleep(4)\n'slept'", on_stdout=lambda _: begun.set())
    )
    await asyncio.wait_for(begun.wait(), 20)
    done = await context.run("never = 1", timeout=1)
    assert done.limit == "time"
    assert (await long).text == "'slept'"
    assert (await context.run("'never' in dir()")).text == "False"


async def test_contexts_run_beside_each_other_and_share_nothing(sandbox: AsyncSandbox) -> None:
    made = await asyncio.gather(*(sandbox.contexts.create() for _ in range(3)))
    await asyncio.gather(*(one.run(f"n = {at}") for at, one in enumerate(made)))
    assert [done.text for done in await asyncio.gather(*(one.run("n") for one in made))] == ["0", "1", "2"]


async def test_artifacts_of_a_cell_come_back(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    done = await context.run("import os; open(os.environ['SANDYARD_ARTIFACTS'] + '/a.csv', 'w').write('1')")
    assert [(one.name, one.content) for one in done.artifacts] == [("a.csv", b"1")]
    assert (
        await context.run("import shutil; shutil.rmtree(os.path.dirname(os.environ['SANDYARD_ARTIFACTS']))")
    ).outcome
    assert (await context.run("1")).text == "1"


async def test_javascript_keeps_its_declarations_awaits_and_is_interrupted(sandbox: AsyncSandbox) -> None:
    if shutil.which("node") is None:
        # The image of tests/cluster/test_client_code.py has one.
        with pytest.raises(errors.InvalidArgument, match="language: this image has none of: node"):
            await sandbox.contexts.create("javascript")
        return
    context = await sandbox.contexts.create("javascript")
    await context.run("const a = 1; let b = 2; function f(n) { return a + b + n } const fs = require('fs')")
    done = await context.run("console.log('out'); console.error('err'); const c = await Promise.resolve(4); f(c)")
    assert (done.text, done.stdout, done.stderr) == ("7", b"out\n", b"err\n")
    assert (await context.run("const a = 10; f(0)")).text == "12"
    assert (await context.run("display({ [Symbol.for('Jupyter.display')]: () => ({ 'text/html': '<b>' }) })")).results[
        0
    ].html == "<b>"  # fmt: skip
    done = await context.run("function g() { throw new TypeError('no') }\ng()")
    assert done.error is not None and (done.error.name, done.error.value) == ("TypeError", "no")
    assert "cell-" in done.error.traceback and "kernel.js" not in done.error.traceback
    assert (await context.run("require('child_process').spawnSync('echo', ['x']).stdout.toString()")).text == "'x\\n'"
    for endless in ("while (true) {}", "await new Promise(() => setTimeout(() => {}, 1e6))"):
        done = await context.run(endless, timeout=1)
        assert done.limit == "time" and done.error is not None and done.error.name == "Interrupted", (endless, done)
    assert (await context.run("[b, typeof fs.readFileSync]")).text == "[ 2, 'function' ]"
    # Node does not survive an interrupt there.
    late = await context.run("await null; while (true) {}", timeout=1)
    assert late.limit == "time" and late.error is not None and late.error.name == "ContextEnded"
    await context.restart()
    assert (await context.run("process.exit(4)")).exit_code == 4


async def test_bash_keeps_what_a_session_keeps(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create("bash", cwd="/tmp")
    await context.run("x=5; f() { return 4; }; cd /usr; set -- a b")
    done = await context.run('echo "$x $PWD $2"; echo e >&2; f')
    assert (done.outcome, done.exit_code, done.stdout, done.stderr) == ("program_error", 4, b"5 /usr b\n", b"e\n")
    for odd in ("echo 'open", "echo a \\", "(", "return 3", "while :; do break 2; done; break", "exec 2>&1", "cat"):
        await context.run(odd, timeout=10)
    assert (await context.run("echo $x")).stdout == b"5\n"
    slow = await context.run("sleep 60; env -i sleep 60", timeout=1)
    assert (slow.limit, slow.error) == ("time", None)
    assert (await context.run("echo $x")).stdout == b"5\n"
    assert (await context.run("exit 9")).exit_code == 9
    with pytest.raises(errors.ContextEnded):
        await context.run("echo")


async def test_what_cannot_be_is_said_with_its_field(sandbox: AsyncSandbox) -> None:
    with pytest.raises(errors.InvalidArgument, match="python, javascript, bash"):
        await sandbox.contexts.create("rust")
    with pytest.raises(errors.SandboxFileNotFound, match="cwd"):
        await sandbox.contexts.create(cwd="/no/such")
    context = await sandbox.contexts.create("bash")
    for wrong in ({"args": [1]}, {"env": {"A": "b"}}, {"stdin": b"x"}, {"language": "python"}):
        with pytest.raises(errors.InvalidArgument, match=next(iter(wrong))):
            await sandbox.run_code("1", context=context, **wrong)  # type: ignore[arg-type]
    with pytest.raises(errors.ContextNotFound):
        await sandbox.run_code("1", context="0" * 32)


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: (
    st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["results", "error", "skipped", "cpu", "data", "main", "name", "text/plain", "image/png", "a"]), inner)),
    max_leaves=12)  # fmt: skip


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_an_interpreter_tells_is_read_or_a_bad_answer(told: bytes) -> None:
    try:
        read = shown(told)
    except errors.BadAnswer:
        return
    for one in read.results:
        assert one.png is None or isinstance(one.png, bytes)
        (one.text or "").encode()
        assert one.json is not NotImplemented


@pytest.mark.parametrize(
    "told",
    [b'{"results": ' + b"[" * 100_000, b'{"cpu": ' + b"9" * 5000 + b"}", b'{"results": [{"data": {"image/png": "?"}}]}',
     b'{"results": [{"data": {"../x": "y"}}]}', json.dumps({"results": [{"data": {}}] * 1001}).encode(),
     b'{"error": "x"}', b'{"error": {"name": 5}}', b"[]", b"x" * 17_000_000],
)  # fmt: skip
def test_what_is_too_large_too_deep_or_no_answer_is_a_bad_one(told: bytes) -> None:
    with pytest.raises(errors.BadAnswer):
        shown(told)


def test_what_a_context_has_made_of_its_files_is_left_out_of_the_list() -> None:
    name = b"0" * 32
    good = name + b"\0python\n\x005\n\0-\0/tmp\n\0"
    assert [one.cwd for one in contexts.parse_contexts(good)] == ["/tmp"]
    for bad in (good.replace(b"python", b"perl"), good.replace(b"5\n", b"5" * 50), good.replace(b"-", b"abc"),
                good.replace(name, b"../../x"), good[:40]):  # fmt: skip
        assert [one for one in contexts.parse_contexts(bad) if one.exit_code != 137] == []


def test_a_picture_is_bytes() -> None:
    told = {
        "results": [{"data": {"image/png": base64.b64encode(b"\x89PNG").decode(), "text/plain": "\ud800"}}],
        "cpu": 1,
    }
    read = shown(json.dumps(told).encode())
    assert (read.results[0].png, read.results[0].text, read.cpu_seconds) == (b"\x89PNG", "?", 1.0)
