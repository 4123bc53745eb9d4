"""What a program that uses the client may write, and what a type checker must refuse. It is never run.

Each line that is wrong on purpose says which error it is; mypy complains of one that is none.
"""

from __future__ import annotations

from typing import assert_type

from sandyard import AsyncSandbox, CommandResult, Sandbox, SandboxInfo


class Mine(Sandbox):
    """A program's own kind of sandbox."""


def synchronous() -> None:
    with Sandbox.create("python", timeout=60, env={"A": "1"}) as sandbox:
        assert_type(sandbox, Sandbox)
        assert_type(sandbox.commands.run("true", timeout=None, on_stdout=print), CommandResult)
        assert_type(sandbox.files.read("f"), bytes)
        assert_type(sandbox.files.list()[0].size, int)
        assert_type(sandbox.run_code("1").ok, bool)
        context = sandbox.contexts.create("python", cwd="/tmp")
        assert_type(sandbox.run_code("1", context=context).results[0].png, bytes | None)
        assert_type(sandbox.run_code("1", context=context.id).text, str | None)
        assert_type(context.run("1", timeout=5).ok, bool)
        sandbox.run_code("1", context=5)  # type: ignore[arg-type]
        sandbox.contexts.create(lang="python")  # type: ignore[call-arg]
        assert_type(sandbox.commands.start(["sleep", "9"]).wait(5).exit_code, int | None)
        assert_type(sandbox.get_info(), SandboxInfo)
        assert_type(sandbox.get_info().pool_name, str | None)
        assert_type(sandbox.namespace + sandbox.uid, str)
        sandbox.wait_until_ready(timeout=5)
        with sandbox.pty(["sh"], columns=80) as terminal:
            terminal.write(b"x")
            assert_type(terminal.read(), bytes)
            assert_type(terminal.exit_code, int | None)
        with sandbox.shell(cwd="/tmp") as shell:
            assert_type(shell.run("pwd").stdout, bytes)
        sandbox.commands.run(1)  # type: ignore[arg-type]
        sandbox.commands.run("true", time_out=1)  # type: ignore[call-arg]
        sandbox.files.write("f")  # type: ignore[call-arg]
        sandbox.shell(cwd=1)  # type: ignore[arg-type]
        sandbox.set_timeout("1")  # type: ignore[arg-type]
    assert_type(Sandbox.connect("s", namespace="n"), Sandbox)
    assert_type(Mine.create(template={"image": "i"}), Mine)
    assert_type(Mine.create(template="python:3.12", timeout=3), Mine)
    Sandbox.create("python", tiemout=3)  # type: ignore[call-arg]
    assert_type(Sandbox.list(pool="python"), list[SandboxInfo])
    Sandbox.create("python", timeout="60")  # type: ignore[arg-type]
    Sandbox.create("python", times=60)  # type: ignore[call-arg]
    Sandbox.connect()  # type: ignore[call-arg]
    assert_type(Sandbox.kill("s", wait=False, namespace="n"), bool)
    assert_type(Mine.get_info("s"), SandboxInfo)
    Sandbox.set_timeout("s", 60, cluster=None)
    Sandbox.kill()  # type: ignore[call-arg]
    Sandbox.kill(5)  # type: ignore[arg-type]
    Sandbox.set_timeout("s")  # type: ignore[call-arg]
    Sandbox.set_timeout("s", "60")  # type: ignore[arg-type]
    Sandbox.get_info("s", name="t")  # type: ignore[call-arg]
    Sandbox.list(pools="python")  # type: ignore[call-arg]


async def asynchronous() -> None:
    async with await AsyncSandbox.create("python") as sandbox:
        assert_type(sandbox, AsyncSandbox)
        assert_type(await sandbox.commands.run(["true"]), CommandResult)
        assert_type(await sandbox.files.read_text("f"), str)
        await sandbox.commands.run("true", chek=True)  # type: ignore[call-arg]
        await AsyncSandbox.connect(1)  # type: ignore[arg-type]
        assert_type(await AsyncSandbox.kill("s"), bool)
        assert_type(await AsyncSandbox.get_info("s", namespace="n"), SandboxInfo)
        await AsyncSandbox.set_timeout("s", 60)
        await AsyncSandbox.kill(1)  # type: ignore[arg-type]
        await AsyncSandbox.set_timeout("s", times=60)  # type: ignore[call-arg]
