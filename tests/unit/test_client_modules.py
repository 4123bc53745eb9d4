"""A JavaScript program is run as the kind of module that it is written as, whatever stands around it."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandyard.client import AsyncSandbox
from sandyard.client.code import languages
from tests.unit.local_pod import local_pod

pytestmark = pytest.mark.timeout(60)
MODULES = [
    "/* x */ import fs from 'fs'", "'use strict'; import fs from 'fs'", 'import"fs"', "const main = 1;export{main}",
    "import{a}from'b'", "import * as a from 'b'", "/* a\n*/export default 1", "function f() {} import x from 'y'",
    "import.meta.url", "await f()", "const x = await f();", "if (a) { await b }", "for await (const x of y) {}",
    "const f = async x => x\nawait f()", "const f = async () => { await 1 }\nawait f()",
    "try { await x } catch (e) { }",
    "const {a} = await import('x')", "console.log(await g(`${1}`))", "[1].map(async (x) => x); await 2",
    "f(/[)]/); await x",
]  # fmt: skip
SCRIPTS = [
    "`\nimport x from 'y'`", "const a = async () => await b()", "const a = async () =>\n  await b()",
    "const a = async () => { await b() }", "async function f() { await x }\nf()", "(async () => { await x })()",
    "import('x').then(f)", "import ('x').then(f)", "const fs = require('fs');\n// import x from 'y'", "x.import.meta",
    "({ async f() { await x } })", "class A { async f() { if (x) { await y } } }", "f(async () => g(await h()))",
    "x = { import: 1, export: 2 }", "const s = '\\\nimport x from y'", "f(async x => x, async y => [await y])",
    "async function f(a = {}) { for (const x of a) { await x } }", "const f = async () => ({ a: await b })",
    "async function f() {\n  const g = () => ({})\n  await g()\n}", "importx from; exporter = 1",
    "const fs = require('fs'); /* a module has no */ await(1)", "switch (x) { case 1: f() }",
]  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandbox() -> AsyncIterator[AsyncSandbox]:
    async with local_pod() as (_, made):
        yield made


def test_what_is_a_module_is_known() -> None:
    for code in MODULES:
        assert "main.mjs" in languages.files(languages.LANGUAGES["javascript"], code, called=False), code
    for code in SCRIPTS:
        assert "main.js" in languages.files(languages.LANGUAGES["javascript"], code, called=False), code


@pytest.mark.parametrize(
    "code",
    [
        "/* x */ import fs from 'fs'; console.log(typeof fs.readFileSync)",
        "'use strict'; import{readFileSync}from'fs'; console.log(typeof readFileSync)",
        "import\"fs\"\nconsole.log('function')",
        "const wait = async (x) => x\nconsole.log(typeof (await wait(wait)))",
        "const fs = require('fs'), wait = async (x) => await x; wait(1).then(() => console.log(typeof fs.stat))",
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_it_runs(sandbox: AsyncSandbox, code: str) -> None:
    done = await sandbox.run_code(code, "javascript")
    assert (done.stdout, done.outcome) == (b"function\n", "success"), done.stderr


@pytest.mark.asyncio(loop_scope="module")
async def test_main_of_a_module_is_called(sandbox: AsyncSandbox) -> None:
    for code in ("const one = await Promise.resolve(1); const main = (x) => x + one;export{main}",
                 "/* x */ import fs from 'fs'; function main(x) { return fs ? x + 1 : 0 }"):  # fmt: skip
        assert (await sandbox.run_code(code, "javascript", args=[2])).value == 3


@pytest.mark.asyncio(loop_scope="module")
async def test_a_cell_imports(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    (tmp_path / "own.mjs").write_text("export const one = 1; export default 'import(x)'")
    package = tmp_path / "node_modules" / "there"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "there", "exports": {"import": "./in.mjs"}}')
    (package / "in.mjs").write_text("export const two = 2")
    context = await sandbox.contexts.create("javascript", cwd=str(tmp_path))
    try:
        for code, text in (
            ("const { readFileSync } = await import('fs'); typeof readFileSync", "'function'"),
            ("(await import ('./own.mjs')).one", "1"),
            ("`${(await import(\"./own.mjs\")).default} import('fs') ${'}'}`", "\"import(x) import('fs') }\""),
            ("import('there').then((there) => { globalThis.two = there.two }); 0", "0"),
            ("two", "2"),
            ("const o = { import: (x) => x }; o.import('fs') // import('nothing')", "'fs'"),
            ("/import('fs')/.source", "\"import('fs')\""),
        ):  # fmt: skip
            done = await context.run(code)
            assert (done.text, done.error) == (text, None), code
        failed = await context.run("await import('./nothing.mjs')")
        assert failed.error is not None and "nothing.mjs" in failed.error.value
        static = await context.run("import fs from 'fs'")
        assert static.error is not None and "await import(" in static.error.value
    finally:
        await context.remove()
