"""The server of the Model Context Protocol, with the real package at both ends; its sandbox is this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

from sandyard.adapters import mcp as adapter
from sandyard.client import Cluster
from tests.support.kube import until
from tests.support.ports import free_port
from tests.unit.local_pod import LocalPod, serving

NAMES = {"create_sandbox", "run_code", "run_command", "read_file", "write_file", "list_files", "delete_sandbox"}


@pytest.fixture
def pod(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPod]:
    with serving(tmp_path, monkeypatch) as made:
        made.folder = tmp_path
        yield made


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Client]:
    """A client of a server in this process; both end in the task in which they began, as they must."""
    async with (
        Cluster(namespace="default") as cluster,
        adapter.serving(pool="python", timeout=60, cluster=cluster) as server,
        Client(server) as made,
    ):
        yield made


async def call(client: Client, tool: str, **arguments: Any) -> str:
    """What the tool says; an error is an AssertionError with its text."""
    done = await client.call_tool(tool, arguments)
    text = "\n".join(one.text for one in done.content if one.type == "text")
    assert not done.is_error, text
    return text


@pytest.mark.usefixtures("pod")
async def test_a_model_sees_each_tool_with_what_it_asks_for() -> None:
    async with served() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == NAMES
        for tool in tools.values():
            assert tool.description
        assert set(tools["run_code"].input_schema["required"]) == {"sandbox", "code"}


@pytest.mark.usefixtures("pod")
async def test_variables_and_files_stay_and_errors_are_told_where_they_are() -> None:
    async with served() as client:
        sandbox = await call(client, "create_sandbox")
        await call(client, "run_code", sandbox=sandbox, code="n = 41")
        told = json.loads(await call(client, "run_code", sandbox=sandbox, code="print('hi')\nn + 1"))
        assert (told["outcome"], told["stdout"], told["results"]) == ("success", "hi\n", ["42"])
        told = json.loads(await call(client, "run_code", sandbox=sandbox, code="1 / 0"))
        assert told["error"]["name"] == "ZeroDivisionError"
        assert "1 / 0" in told["error"]["traceback"]
        await call(client, "write_file", sandbox=sandbox, path="notes/a.txt", text="ä\n")
        assert await call(client, "read_file", sandbox=sandbox, path="notes/a.txt") == "ä\n"
        assert "a.txt" in await call(client, "list_files", sandbox=sandbox, path="notes")
        done = json.loads(await call(client, "run_command", sandbox=sandbox, command="cat notes/a.txt; exit 3"))
        assert (done["exit_code"], done["stdout"]) == (3, "ä\n")


@pytest.mark.usefixtures("pod")
async def test_no_more_is_told_than_a_model_reads() -> None:
    async with served() as client:
        sandbox = await call(client, "create_sandbox")
        done = json.loads(
            await call(client, "run_command", sandbox=sandbox, command="head -c 100000 /dev/zero | tr '\\0' x")
        )
        assert done["stdout"].endswith("x\n[70000 more characters]")


@pytest.mark.usefixtures("pod")
async def test_a_command_whose_time_is_over_tells_what_it_had_said() -> None:
    async with served() as client:
        sandbox = await call(client, "create_sandbox")
        done = json.loads(
            await call(client, "run_command", sandbox=sandbox, command="echo so far; sleep 60", timeout=1)
        )
        assert (done["timed_out"], done["stdout"]) == (True, "so far\n")


@pytest.mark.parametrize("sandbox", ["s", "", "../s", "default/s"])
@pytest.mark.usefixtures("pod")
async def test_nobody_gets_at_a_sandbox_by_its_name(sandbox: str) -> None:
    async with served() as client:
        await call(client, "create_sandbox")
        with pytest.raises(AssertionError, match="no such sandbox: call create_sandbox"):
            await call(client, "run_command", sandbox=sandbox, command="true")


@pytest.mark.usefixtures("pod")
async def test_what_is_wrong_is_told_to_the_model() -> None:
    async with served() as client:
        sandbox = await call(client, "create_sandbox")
        with pytest.raises(AssertionError, match=r"nowhere\.txt"):
            await call(client, "read_file", sandbox=sandbox, path="nowhere.txt")
        await call(client, "delete_sandbox", sandbox=sandbox)
        with pytest.raises(AssertionError, match="no such sandbox"):
            await call(client, "read_file", sandbox=sandbox, path="nowhere.txt")


@pytest.mark.usefixtures("pod")
async def test_an_interpreter_that_ends_is_told_and_the_next_call_has_a_new_one() -> None:
    async with served() as client:
        sandbox = await call(client, "create_sandbox")
        await call(client, "run_code", sandbox=sandbox, code="n = 1")
        told = json.loads(await call(client, "run_code", sandbox=sandbox, code="import os; os._exit(3)"))
        assert told["outcome"] != "success"
        with pytest.raises(AssertionError, match="variables are lost; this code was not run"):
            await call(client, "run_code", sandbox=sandbox, code="n")
        told = json.loads(await call(client, "run_code", sandbox=sandbox, code="'n' in globals()"))
        assert told["results"] == ["False"]


async def test_over_standard_input_and_output_all_is_deleted_when_the_client_goes(pod: LocalPod) -> None:
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "sandyard.cli.main", "mcp", "--pool", "python"], env=_environment()
    )
    async with Client(stdio_client(command)) as client:
        sandbox = await call(client, "create_sandbox")
        told = json.loads(await call(client, "run_code", sandbox=sandbox, code="6 * 7"))
        assert told["results"] == ["42"]
        assert not pod.deleted
    await asyncio.to_thread(until, "it is deleted", lambda: pod.deleted, 20)


async def test_over_http_all_is_deleted_when_the_server_is_asked_to_end(pod: LocalPod) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandyard.cli.main", "mcp", "--pool", "python", "--http", f"127.0.0.1:{port}",
        env=_environment(), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            await _listening(port)
            async with Client(f"http://127.0.0.1:{port}/mcp") as client:
                sandbox = await call(client, "create_sandbox")
            # A client that comes again is known by the id that it was given.
            async with Client(f"http://127.0.0.1:{port}/mcp") as client:
                done = json.loads(await call(client, "run_command", sandbox=sandbox, command="echo hi"))
            assert done["stdout"] == "hi\n"
            assert not pod.deleted
            process.terminate()
            _, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert pod.deleted
    assert told.endswith(b"sandyard: terminated\n")
    assert b"Traceback" not in told


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return


def _environment() -> dict[str, str]:
    return dict(os.environ)


# What a program may do to the folder of an interpreter; that of all of them lies above it.
LOST = ["rm -rf {}", "rm -rf {}/*", "kill -s KILL $(cat {}/pid)", "rm {}/control"]


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize("lost", LOST)
async def test_an_interpreter_that_is_lost_costs_one_call(lost: str) -> None:
    async with served() as client:
        sandbox = await call(client, "create_sandbox")
        where = "open('/proc/self/cmdline').read().split(chr(0))[-2]"
        folder = json.loads(await call(client, "run_code", sandbox=sandbox, code=where))["results"][0].strip("'")
        assert folder.startswith("/tmp/.sandyard/contexts/")
        await call(client, "run_command", sandbox=sandbox, command=lost.format(folder))
        try:
            await call(client, "run_code", sandbox=sandbox, code="x = 1")
        except AssertionError as error:
            assert "call again, for a new one" in str(error)
        done = json.loads(await call(client, "run_code", sandbox=sandbox, code="y = 2; y"))
        assert done["results"] == ["2"]
        left = f"ps -eo args | grep -c '[k]ernel.py {folder}' || :"
        if lost != "rm {}/control":
            assert json.loads(await call(client, "run_command", sandbox=sandbox, command=left))["stdout"] == "0\n"
