"""A program in JavaScript may give its own things any name, and what it is told of them names nothing of ours."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from sandyard.client import AsyncSandbox
from sandyard.client.code import languages

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(shutil.which("node") is None, reason="needs node"),
]
NAMES = [
    "function process(items) { return items.map((one) => one * 2) }", "class Symbol { constructor(s) { this.s = s } }",
    "const Buffer = 1", "let Promise = null", "var Object = 1", "class Array {}", "const String = 1",
    "function Error() {}", "const Uint8Array = 0, Int32Array = 0, Atomics = 0",
    "const fs = 1, path = 2, util = 3, vm = 4",
    "let stop = 1, current = 2, shown = 3, streams = 4, told = 5, run = 6, cell = 7",
]  # fmt: skip


@pytest.mark.parametrize("declared", NAMES)
async def test_a_cell_declares_what_it_likes(sandbox: AsyncSandbox, declared: str) -> None:
    context = await sandbox.contexts.create("javascript")
    assert (await context.run(f"{declared}; 1", timeout=20)).text == "1"
    for _ in range(2):
        done = await context.run("console.log('said'); 6 * 7", timeout=20)
        assert (done.text, done.stdout, done.error) == ("42", b"said\n", None), done
    shown = await context.run("display({ a: [1] }); await import('fs').then((fs) => typeof fs.stat)", timeout=20)
    assert [one.text for one in shown.results] == ["{ a: [ 1 ] }", "'function'"]
    failed = await context.run("null.x", timeout=20)
    assert failed.error is not None and failed.error.name == "TypeError"
    assert (await context.run("while (true);", timeout=1)).limit == "time"
    assert (await context.run("6 * 7", timeout=20)).text == "42"


@pytest.mark.parametrize("declared", [*NAMES[:-2], "const JSON = 1", "const console = 1", "const args = 1, value = 2"])
@pytest.mark.parametrize("way", ["", "export {}; "])
async def test_a_program_with_arguments_declares_what_it_likes(sandbox: AsyncSandbox, declared: str, way: str) -> None:
    program = f"{way}{declared}; function main(x) {{ return x + 1 }}"
    done = await sandbox.run_code(program, "javascript", args=[2], timeout=30)
    assert (done.outcome, done.value) == ("success", 3), done.stderr_text


async def test_what_an_error_tells_of_its_way_names_nothing_of_ours(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create("javascript")
    await context.run("function f() { return new Error('mine') }", timeout=20)
    shown = await context.run("f()", timeout=20)
    assert shown.text == "Error: mine\n    at f (cell-1:1:23)\n    at cell-2:1:1", shown.text
    for cell in (
        "console.error(f())", "console.log(f().stack)", "console.trace('t')", "Promise.reject(f()); 1",
        "try { null.x } catch (e) { console.error(e) }", "await 0; console.error(f())",
        "setTimeout(() => console.error(f())); await new Promise((r) => setTimeout(r, 50))",
    ):  # fmt: skip
        done = await context.run(cell, timeout=20)
        said = done.stdout + done.stderr
        assert b"kernel.js" not in said and b"sandyard" not in said and b"node:inspector" not in said, said
        assert said or "reject" in cell
    thrown = await context.run("throw f()", timeout=20)
    assert thrown.error is not None and "kernel" not in thrown.error.traceback and "cell-1" in thrown.error.traceback
    spoiled = "const e = f(); e.toString = null; Object.defineProperty(e, 'message', { get() { throw 1 } });"
    odd = await context.run(f"{spoiled} e.stack.length > 3")
    assert odd.text == "true"


def test_what_calls_main_does_so_when_it_is_compiled_to_commonjs_too(tmp_path: pathlib.Path) -> None:
    """As tsc makes it for a node that runs no TypeScript: an import that is a require has no default."""
    known = languages.of("typescript")
    assert known is not None
    call = re.sub(r"import\(('[^']+')\)", r"Promise.resolve().then(() => require(\1))", known.call)
    assert "import(" not in call and call.count("require(") > 1
    (tmp_path / "main.js").write_text("function main({number}) { return {double: 2 * number} }\n" + call)
    (tmp_path / "args").write_text('{"number": 21}')
    result = tmp_path / "result"
    subprocess.run(
        ["node", tmp_path / "main.js"], check=True, timeout=30,
        env={**os.environ, "SANDYARD_ARGS": str(tmp_path / "args"), "SANDYARD_RESULT": str(result)},
    )  # fmt: skip
    assert json.loads(result.read_text()) == {"double": 42}
