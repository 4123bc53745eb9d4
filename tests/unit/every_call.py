"""A program that uses every call of the synchronous face, each with every option. It is checked, and never run.

`tests/unit/test_client_types.py` holds that none is left out.
"""

from __future__ import annotations

import pathlib
from typing import Any, assert_type

from sandyard import Cluster, CommandResult, Sandbox, SandboxInfo
from sandyard.client.code.code import CodeResult
from sandyard.client.code.contexts import ContextInfo
from sandyard.client.commands.background import BackgroundInfo, OutputChunk
from sandyard.client.commands.processes import ProcessInfo
from sandyard.client.files.archive import Transferred
from sandyard.client.files.files import FileLines, GrepResult
from sandyard.client.files.listing import FileChange, FileInfo
from sandyard.client.metrics import Environment, Metrics

ENV = {"A": "1"}
SAID: list[bytes] = []
PROBLEMS: list[str] = []


def say(data: bytes) -> None:
    SAID.append(data)


def progress(done: int) -> None:
    SAID.append(b"x" * done)


def finding(cluster: Cluster) -> Sandbox:
    template: dict[str, Any] = {"image": "python:3.12"}
    with Sandbox.create(template=template, language=None, timeout=None, idle_timeout=60, cluster=cluster) as first:
        assert_type(first, Sandbox)
    assert_type(Sandbox.list(labels=ENV, pool="p", phase="Ready", namespace="n", cluster=cluster), list[SandboxInfo])
    assert_type(Sandbox.connect("s", namespace="n", wait=False, resume=True, cluster=cluster), Sandbox)
    return Sandbox.create(
        "python", name="s", namespace="n", timeout=60, on_timeout="suspend", env=ENV, network={"mode": "None"},
        labels=ENV, wait_seconds=5, wait=True, exist_ok=True,
    )  # fmt: skip


def living(sandbox: Sandbox) -> None:
    assert_type(sandbox.name + sandbox.namespace + sandbox.uid + sandbox.pod_name, str)
    assert_type(sandbox.get_info(), SandboxInfo)
    assert_type(Sandbox.get_info("s", namespace="n", cluster=None), SandboxInfo)
    assert_type(sandbox.is_running(), bool)
    sandbox.wait_until_ready(timeout=5)
    sandbox.set_timeout(seconds=None)
    Sandbox.set_timeout("s", 60, namespace="n", cluster=None)
    sandbox.update_network(network={"mode": "None"})
    sandbox.pause()
    sandbox.suspend()
    sandbox.resume()
    sandbox.restart()
    assert_type(sandbox.get_metrics(), Metrics)
    assert_type(sandbox.get_environment(), Environment)
    assert_type(sandbox.kill(wait=False), bool)
    assert_type(Sandbox.kill("s", wait=False, namespace="n", cluster=None), bool)
    sandbox.close()


def commands(sandbox: Sandbox) -> None:
    done = sandbox.commands.run(
        ["cat"], timeout=None, cwd="/tmp", env=ENV, stdin=b"x", on_stdout=say, on_stderr=say, max_output=10,
        output_limit=20, keep_output=30, check=True,
    )  # fmt: skip
    assert_type(done, CommandResult)
    begun = sandbox.commands.start("cat", timeout=5, cwd="/tmp", env=ENV, stdin=True, max_output=10)
    assert_type(begun.id + begun.stdout_path + begun.stderr_path, str)
    assert_type(begun.read(stdout_offset=1, stderr_offset=2, max_bytes=3, wait=0.5), OutputChunk)
    assert_type(begun.follow(on_stdout=say, on_stderr=say), OutputChunk)
    assert_type(begun.wait(timeout=5, max_output=10, check=True), CommandResult)
    begun.send_stdin(data=b"x")
    begun.close_stdin()
    assert_type(begun.kill(signal="INT", grace=1), bool)
    begun.remove()
    assert_type(sandbox.commands.connect(id=begun.id).id, str)
    assert_type(sandbox.commands.list(), list[BackgroundInfo])
    assert_type(sandbox.commands.processes(), list[ProcessInfo])
    sandbox.commands.kill(pid=5, signal="INT")
    sandbox.commands.end(exec_id=begun.id, signal="INT", grace=1)


def sessions(sandbox: Sandbox) -> None:
    with sandbox.shell(cwd="/tmp", env=ENV) as shell:
        done = shell.run("true", timeout=5, on_stdout=say, on_stderr=say, max_output=10, check=True)
        assert_type(done, CommandResult)
        assert_type(shell.closed, bool)
        shell.reset()
    shell.close()
    with sandbox.pty(command=["sh"], columns=80, rows=24, cwd="/tmp", env=ENV) as terminal:
        terminal.write(data=b"x")
        terminal.resize(columns=100, rows=30)
        assert_type(terminal.read(timeout=1), bytes)
        assert_type(terminal.exit_code, int | None)
        for data in terminal:
            assert_type(data, bytes)
    with sandbox.forward(port=80, local_port=0, address="127.0.0.1", on_problem=PROBLEMS.append) as forward:
        assert_type(forward.port + forward.local_port, int)
        assert_type(forward.address + forward.url, str)
        forward.wait()
    forward.close()


def code(sandbox: Sandbox) -> None:
    ran = sandbox.run_code(
        "1", "python", args={"n": 1}, timeout=5, env=ENV, stdin=b"x", on_stdout=say, on_stderr=say, output_limit=10,
        max_artifacts=1, max_artifact_bytes=10,
    )  # fmt: skip
    assert_type(ran, CodeResult)
    context = sandbox.contexts.create(language="python", cwd="/tmp", env=ENV)
    assert_type(context.id + context.language, str)
    cell = context.run(
        "1", timeout=5, on_stdout=say, on_stderr=say, output_limit=10, max_artifacts=1, max_artifact_bytes=10
    )
    assert_type(cell, CodeResult)
    assert_type(sandbox.run_code("1", context=context), CodeResult)
    context.interrupt()
    context.restart()
    context.remove()
    assert_type(sandbox.contexts.connect(id=context.id).id, str)
    assert_type(sandbox.contexts.list(), list[ContextInfo])


def files(sandbox: Sandbox) -> None:
    here = pathlib.Path("f")
    assert_type(sandbox.files.read("f", offset=1, length=2, max_bytes=3), bytes)
    assert_type(sandbox.files.read_text("f", max_bytes=3), str)
    assert_type(sandbox.files.read_lines("f", start=1, end=2), FileLines)
    sandbox.files.insert("f", after_line=1, text="x")
    found = sandbox.files.grep("x", path=".", fixed=True, ignore_case=True, max_results=5)
    assert_type(found, GrepResult)
    assert_type(sandbox.files.upload(here, path="f", on_progress=progress), Transferred)
    brought = sandbox.files.download("f", here, max_bytes=3, max_files=4, on_progress=progress)
    assert_type(brought, Transferred)
    sandbox.files.write("f", data="x")
    sandbox.files.write_files(files={"f": b"x", "g": "y"})
    sandbox.files.append("f", data=b"x")
    assert_type(sandbox.files.edit("f", changes=[("x", "y")], replace_all=True), int)
    assert_type(sandbox.files.list(path=".", depth=2), list[FileInfo])
    for change in sandbox.files.watch_dir(path=".", depth=2, interval=0.5):
        assert_type(change, FileChange)
    assert_type(sandbox.files.stat("f"), FileInfo)
    assert_type(sandbox.files.exists("f"), bool)
    sandbox.files.mkdir("d")
    sandbox.files.remove("d", recursive=True)
    sandbox.files.rename("f", new="g")
    sandbox.files.copy("f", new="g")
