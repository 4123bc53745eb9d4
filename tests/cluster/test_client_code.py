"""Programs in every language, what a sandbox uses, and what it is: on real gVisor pods."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from localcluster import images, lifecycle
from sandyard import AsyncSandbox
from sandyard.client import errors
from tests.support import manifests
from tests.support.kube import Kube
from tests.support.release import Installed

PROGRAMS = {
    "python": "print('hello')",
    "javascript": "console.log('hello')",
    "typescript": "const text: string = 'hello'; console.log(text)",
    # No fmt: it and all that it needs is compiled anew in each sandbox.
    "go": 'package main\nimport "syscall"\nfunc main() { syscall.Write(1, []byte("hello\\n")) }',
    "rust": 'fn main() { println!("hello"); }',
    "bash": 'words=(hello); echo "${words[0]}"',
    "ruby": "puts 'hello'",
}
BROKEN = {
    "python": "def f(:",
    "javascript": "throw new Error('no')",
    "typescript": "throw new Error('no')",
    "go": "package main\nfunc main() { undefined() }",
    "rust": "fn main() { undefined(); }",
    "bash": "exit 3",
    "ruby": "raise 'no'",
}
# Each doubles a number and greets: called by name where the language has that, else by position.
CALLED = {
    "python": "async def main(number, name='x'):\n    return {'double': number * 2, 'name': name}",
    "javascript": "async function main({number, name}) { return {double: number * 2, name} }",
    "typescript": "function main({number, name}: {number: number, name: string}) { return {double: number * 2, name} }",
    "ruby": "def main(number:, name:)\n  { double: number * 2, name: name }\nend",
}


@pytest.fixture
async def polyglot(installed: Installed, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncSandbox]:
    """A sandbox that was taken by its language, of an image that has them all."""
    lifecycle.provide(installed.cluster, images.languages())
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    resources = {"cpu": "2", "memory": "1Gi", "requests": {"cpu": "5m"}}
    # Nothing warm: one pod of this image is enough.
    pool = manifests.pool("all", 0, manifests.template(image=images.LANGUAGES_IMAGE, resources=resources))
    pool["metadata"]["labels"] = {"sandyard.dev/language": "go"}
    kube.apply(pool)
    async with await AsyncSandbox.create(language="golang", namespace=kube.namespace, wait_seconds=180) as made:
        yield made


async def test_a_program_in_each_language(polyglot: AsyncSandbox) -> None:
    for language, program in PROGRAMS.items():
        done = await polyglot.run_code(program, language, timeout=240)
        assert (language, done.outcome, done.stdout) == (language, "success", b"hello\n"), done.stderr_text
    for language, program in BROKEN.items():
        done = await polyglot.run_code(program, language, timeout=240)
        assert (language, done.outcome) == (language, "program_error"), done
        assert done.stderr or language == "bash"
    for language, program in CALLED.items():
        done = await polyglot.run_code(program, language, args={"number": 21, "name": "it's"}, timeout=240)
        assert done.value == {"double": 42, "name": "it's"}, (language, done.stderr_text)
    assert (await polyglot.commands.run("ls /tmp/.sandyard/code")).stdout == b"", "nothing is left of them"
    tools = (await polyglot.get_environment()).tools
    assert {"python3", "node", "go", "rustc", "ruby", "bash"} <= set(tools)
    context = await polyglot.contexts.create("javascript")
    await context.run("const kept = 41")
    assert (await context.run("kept + await Promise.resolve(1)")).text == "42"
    await context.remove()


async def test_outcomes(sandbox: AsyncSandbox) -> None:
    run = sandbox.run_code
    assert (await run("import sys; sys.exit(3)")).outcome == "program_error"
    slow = await run("print('begun', flush=True)\nwhile True: pass", timeout=2)
    assert (slow.outcome, slow.limit, slow.stdout) == ("resource_limit_exceeded", "time", b"begun\n")
    loud = await run("while True: print('x' * 1000)", output_limit=50_000)
    assert (loud.outcome, loud.limit) == ("resource_limit_exceeded", "output")
    assert len(loud.stdout) <= 100_000
    assert (await run("import os; os.kill(os.getpid(), 11)")).outcome == "runtime_error"
    # A signal that it sends itself is not the kernel's for memory.
    assert (await run("import os; os.kill(os.getpid(), 9)")).outcome == "runtime_error"
    assert (await run("open('/etc/shadow')")).outcome == "unauthorized_access"
    assert (await run("require 'x'", "ruby")).outcome == "program_runner_error"
    with pytest.raises(errors.InvalidArgument, match="typescript"):
        await run("x", "cobol")
    assert not [process for process in await sandbox.commands.processes() if "main.py" in process.command]


@pytest.mark.alone
async def test_values_artifacts_and_measures(sandbox: AsyncSandbox) -> None:
    program = """
import os, sys
place = os.environ["SANDYARD_ARTIFACTS"]
for n in range(12):
    open(f"{place}/{n:02}.csv", "w").write(f"{n}")
open(f"{place}/big.png", "wb").write(bytes(200_000))
open(f"{place}/run.exe", "w").write("x")
os.symlink("/etc/passwd", f"{place}/link.csv")
print(sys.flags.ignore_environment, sys.dont_write_bytecode, sys.stdin.read())
x = bytearray(60_000_000)
import time
started = time.process_time()
while time.process_time() - started < 1: pass
def main(a, b): return [a, b, None]
"""
    done = await sandbox.run_code(program, args=[1, "zwei"], stdin=b"input", max_artifact_bytes=100_000)
    assert done.ok, done.stderr_text
    assert done.value == [1, "zwei", None]
    assert done.stdout == b"1 True input\n"
    assert [artifact.name for artifact in done.artifacts] == [f"{n:02}.csv" for n in range(10)]
    assert (done.artifacts[3].content, done.artifacts[3].media_type) == (b"3", "text/csv")
    assert len(done.skipped) == 5, done.skipped
    assert done.cpu_seconds is not None and 0.9 < done.cpu_seconds < 6
    assert done.peak_memory_bytes is not None and 60_000_000 < done.peak_memory_bytes < 120_000_000
    assert (await sandbox.run_code("print(1)", args=[])).outcome == "program_error", "there is no main"
    failed = await sandbox.run_code("def main(): return {1, 2}", args={})
    assert failed.outcome == "program_error"
    assert b"not JSON serializable" in failed.stderr


async def test_memory_that_runs_out_is_told_as_such(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    async with await AsyncSandbox.create(template=manifests.template(), namespace=kube.namespace) as sandbox:
        done = await sandbox.run_code("x = bytearray(1_000_000_000)\nfor i in range(0, len(x), 4096): x[i] = 1")
        assert (done.outcome, done.limit) == ("resource_limit_exceeded", "memory")
        with pytest.raises(errors.SandboxEnded) as caught:
            await sandbox.commands.run("true")
        assert caught.value.reason == "OOMKilled"


@pytest.mark.alone
async def test_what_a_sandbox_uses_and_is(sandbox: AsyncSandbox) -> None:
    await sandbox.commands.run("head -c 50000000 /dev/zero > /workspace/f")
    burning = await sandbox.commands.start(["python3", "-c", "x = bytearray(50_000_000)\nwhile True: pass"])
    # This machine may be busy with something else as well.
    used = max([await sandbox.get_metrics() for _ in range(4)], key=lambda metrics: metrics.cpu_cores)
    assert 0.5 < used.cpu_cores < 1.3, used
    assert 50_000_000 < used.memory_bytes < 200_000_000, used
    assert used.disk_used_bytes is not None and used.disk_used_bytes >= 50_000_000
    await burning.kill()
    found = await sandbox.get_environment()
    assert "Debian" in found.os
    assert found.kernel.startswith("Linux")
    assert (found.arch, found.user, found.folder) == ("x86_64", 1000, "/workspace")
    assert found.memory_bytes <= 128 * 2**20 * 1.1
    assert "python3" in found.tools and "git" not in found.tools
    assert {"/workspace", "/tmp"} <= set(found.disks)
    assert found.hostname == sandbox.pod_name


async def test_a_context_keeps_what_its_cells_set_and_is_interrupted(sandbox: AsyncSandbox) -> None:
    context = await sandbox.contexts.create()
    await context.run("kept = 41")
    done = await context.run("print('out')\nkept + 1")
    assert (done.text, done.stdout) == ("42", b"out\n")
    slow = await context.run("while True: pass", timeout=1)
    assert slow.error is not None and (slow.limit, slow.error.name) == ("time", "KeyboardInterrupt")
    ended = await context.run("import os; print(kept); os._exit(3)")
    assert (ended.stdout, ended.exit_code) == (b"41\n", 3)
    with pytest.raises(errors.ContextEnded):
        await context.run("kept")
    await context.remove()
