"""The sandbox client of the OpenAI Agents SDK, with its own runner, tools and snapshots."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
from typing import Any

import pytest
from agents import Runner
from agents.editor import ApplyPatchOperation
from agents.items import ModelResponse
from agents.models.interface import Model
from agents.run import RunConfig
from agents.sandbox import SandboxAgent, SandboxRunConfig
from agents.sandbox.entries import File
from agents.sandbox.errors import (
    ConfigurationError,
    ExecTimeoutError,
    ExecTransportError,
    InvalidManifestPathError,
    WorkspaceArchiveReadError,
    WorkspaceArchiveWriteError,
    WorkspaceReadNotFoundError,
    WorkspaceStartError,
)
from agents.sandbox.manifest import Manifest
from agents.sandbox.session import SandboxSession
from agents.sandbox.snapshot import LocalSnapshotSpec
from agents.usage import Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from localcluster import paths
from sandyard.adapters.openai_agents import (
    SandyardSandboxClient,
    SandyardSandboxClientOptions,
    SandyardSandboxSession,
    SandyardSandboxSessionState,
)
from tests.unit.local_pod import LocalPod

POOL = SandyardSandboxClientOptions(pool="python")


class Scripted(Model):
    """Calls tools as it was told to, and ends with what the last of them has said."""

    def __init__(self, *calls: tuple[str, dict[str, Any]]) -> None:
        self.calls = list(calls)
        self.heard: list[str] = []

    async def get_response(self, system_instructions: Any, input: Any, *_: Any, **__: Any) -> ModelResponse:
        said = [item for item in input if not isinstance(item, str) and item.get("type") == "function_call_output"]
        self.heard = [str(item["output"]) for item in said]
        if len(said) < len(self.calls):
            name, arguments = self.calls[len(said)]
            number = str(len(said))
            call = ResponseFunctionToolCall(
                id=number, call_id=number, name=name, arguments=json.dumps(arguments), type="function_call"
            )
            return ModelResponse(output=[call], usage=Usage(), response_id=None)
        text = ResponseOutputText(text=self.heard[-1], type="output_text", annotations=[])
        message = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


async def test_an_agent_works_in_a_sandbox_of_its_own_which_is_deleted(pod: LocalPod, root: str) -> None:
    model = Scripted(
        ("exec_command", {"cmd": "cat task.txt; echo $((6 * 7)) > answer.txt"}),
        ("exec_command", {"cmd": "cat answer.txt; pwd"}),
    )
    agent = SandboxAgent(
        name="programmer", model=model,
        default_manifest=Manifest(root=root, entries={"task.txt": File(content=b"compute\n")}),
    )  # fmt: skip
    sandbox = SandboxRunConfig(client=SandyardSandboxClient(), options=POOL)
    done = await Runner.run(agent, "Do it.", run_config=RunConfig(sandbox=sandbox, tracing_disabled=True))
    assert "compute" in model.heard[0]
    assert f"42\n{root}" in done.final_output
    assert pod.deleted
    assert [body["spec"]["poolRef"]["name"] for method, _, body in pod.asked if method == "POST"] == ["python"]


async def test_a_patch_of_the_sdk_changes_files(session: SandboxSession) -> None:
    await session.write(pathlib.Path("a.txt"), io.BytesIO(b"one\ntwo\n"))
    await session.apply_patch(ApplyPatchOperation(type="update_file", path="a.txt", diff="@@\n one\n-two\n+2\n"))
    assert (await session.read(pathlib.Path("a.txt"))).read() == b"one\n2\n"


async def test_commands_run_in_the_workspace_with_its_variables(session: SandboxSession, root: str) -> None:
    done = await session.exec('pwd; echo "$N<${EMPTY-unset}>"; echo wrong >&2; exit 4')
    assert (done.stdout, done.stderr, done.exit_code) == (f"{root}\n3<>\n".encode(), b"wrong\n", 4)
    assert (await session.exec("printf", "%s", "a b", shell=False)).stdout == b"a b"


async def test_a_command_whose_time_is_over_is_ended(session: SandboxSession) -> None:
    with pytest.raises(ExecTimeoutError):
        await session.exec("sleep 62", timeout=1)
    assert b"sleep 62" not in (await session.exec("ps -eo args | grep -v grep | grep 'sleep 62'")).stdout


async def test_bytes_go_in_and_come_out_as_they_are(session: SandboxSession) -> None:
    content = bytes(range(256)) * 1000
    await session.write(pathlib.Path("new/deep/a"), io.BytesIO(content))
    assert (await session.read(pathlib.Path("new/deep/a"))).read() == content
    assert await session.read_bounded(pathlib.Path("new/deep/a"), max_bytes=300) == content[:300]
    assert await session.read_bounded(pathlib.Path("new/deep/a"), max_bytes=10**7) == content
    assert [entry.path.rpartition("/")[2] for entry in await session.ls("new/deep")] == ["a"]


async def test_a_file_that_is_not_there_or_cannot_be_read_is_told(session: SandboxSession) -> None:
    with pytest.raises(WorkspaceReadNotFoundError):
        await session.read(pathlib.Path("none"))
    await session.mkdir("folder")
    with pytest.raises(WorkspaceArchiveReadError) as raised:
        await session.read(pathlib.Path("folder"))
    assert raised.value.context["code"] == "IsADirectory"
    with pytest.raises(WorkspaceArchiveWriteError):
        await session.write(pathlib.Path("folder"), io.BytesIO(b""))


@pytest.mark.parametrize("call", ["exec", "read", "write"])
async def test_another_user_is_refused_with_a_word(session: SandboxSession, call: str) -> None:
    calls = {
        "exec": lambda: session.exec("true", user="somebody"),
        "read": lambda: session.read(pathlib.Path("a"), user="somebody"),
        "write": lambda: session.write(pathlib.Path("a"), io.BytesIO(b""), user="somebody"),
    }
    with pytest.raises(ConfigurationError, match="nothing as 'somebody'; leave it out"):
        await calls[call]()


@pytest.mark.parametrize("link", ["/usr", "..", "../.."])
async def test_no_link_of_the_tenant_leads_out_of_the_workspace(session: SandboxSession, link: str) -> None:
    await session.exec(f"ln -s {link} way")
    with pytest.raises(InvalidManifestPathError):
        await session.read(pathlib.Path("way/hostname"))
    with pytest.raises(InvalidManifestPathError):
        await session.write(pathlib.Path("way/made"), io.BytesIO(b""))


async def test_a_session_that_ended_goes_on_in_a_new_sandbox_from_its_snapshot(
    pod: LocalPod, root: str, tmp_path: pathlib.Path
) -> None:
    client = SandyardSandboxClient()
    made = await client.create(
        manifest=Manifest(root=root), snapshot=LocalSnapshotSpec(base_path=tmp_path), options=POOL
    )
    async with made:
        await made.write(pathlib.Path("kept/a"), io.BytesIO(b"kept"))
    await client.delete(made)
    assert pod.deleted
    # Another pod has nothing of it.
    shutil.rmtree(root)
    payload = json.loads(json.dumps(client.serialize_session_state(made.state)))
    again = await client.resume(client.deserialize_session_state(payload))
    async with again:
        assert (await again.read(pathlib.Path("kept/a"))).read() == b"kept"
    await client.delete(again)
    assert len([method for method, _, _ in pod.asked if method == "POST"]) == 2


async def test_a_session_that_was_cut_off_goes_on_in_its_sandbox(pod: LocalPod, root: str) -> None:
    client = SandyardSandboxClient()
    made = await client.create(manifest=Manifest(root=root), options=POOL)
    await made.start()
    await made.write(pathlib.Path("a"), io.BytesIO(b"there"))
    payload = client.serialize_session_state(made.state)
    again = await SandyardSandboxClient().resume(client.deserialize_session_state(payload))
    lifetimes = [body["spec"].get("lifetime") for method, _, body in pod.asked if method == "PATCH"]
    assert any(lifetime and lifetime["deadline"] for lifetime in lifetimes)
    async with again:
        assert (await again.read(pathlib.Path("a"))).read() == b"there"
    assert pod.deleted
    assert len([method for method, _, _ in pod.asked if method == "POST"]) == 1
    await made._inner.sandbox.close()


async def test_a_sandbox_of_the_same_name_is_not_taken_for_the_sessions(pod: LocalPod, root: str) -> None:
    client = SandyardSandboxClient()
    made = await client.create(manifest=Manifest(root=root), options=POOL)
    state = made.state
    assert isinstance(state, SandyardSandboxSessionState)
    state.uid = "another"
    again = await client.resume(state)
    assert len([method for method, _, _ in pod.asked if method == "POST"]) == 2
    await client.delete(made)
    await client.delete(again)


async def test_what_is_not_to_be_kept_is_left_out_of_the_snapshot(session: SandboxSession) -> None:
    await session.exec("mkdir cache; echo x > cache/big; echo y > kept")
    session.register_persist_workspace_skip_path("cache")
    with tarfile.open(fileobj=io.BytesIO((await session.persist_workspace()).read())) as archive:
        names = {name.removeprefix("./") for name in archive.getnames()}
    assert "kept" in names
    assert not any(name.startswith("cache") for name in names)


@pytest.mark.parametrize("owned", [True, False])
async def test_a_workspace_with_links_of_all_kinds_comes_back(session: SandboxSession, root: str, owned: bool) -> None:
    if not owned:
        if os.geteuid() != 0:
            pytest.skip("only root can make a folder another's")
        os.chown(root, 0, 0)
        os.chmod(root, 0o777)  # noqa: S103 - as a volume of a pod is
    await session.exec("mkdir -m 700 sub; echo x > sub/a; ln sub/a hard; ln -s sub/a soft; ln -s /usr/bin/env out")
    archive = (await session.persist_workspace()).read()
    await session.exec("rm -rf ./*")
    await session.hydrate_workspace(io.BytesIO(archive))
    done = await session.exec("cat hard soft; readlink out; stat -c %a sub; ls")
    assert done.stdout.decode().split() == ["x", "x", "/usr/bin/env", "700", "hard", "out", "soft", "sub"]


@pytest.mark.parametrize("name", ["../out", "/usr/out", "a/../../out"])
async def test_an_archive_that_leads_out_of_the_workspace_is_refused(session: SandboxSession, name: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(WorkspaceArchiveWriteError):
        await session.hydrate_workspace(io.BytesIO(data.getvalue()))
    with pytest.raises(WorkspaceArchiveWriteError):
        await session.hydrate_workspace(io.BytesIO(b"this is no archive"))


async def test_a_workspace_beyond_what_is_kept_is_told_and_not_written_here(
    session: SandboxSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandyard.adapters.openai_agents.workspace.MAX_BYTES", 100_000)
    await session.exec("head -c 1000000 /dev/zero > big")
    with pytest.raises(WorkspaceArchiveReadError) as raised:
        await session.persist_workspace()
    assert "more than 100000 bytes" in str(raised.value.context["detail"])


async def test_a_port_is_reached_from_this_machine(pod: LocalPod, root: str) -> None:
    # Programs that reach a port read what this machine may keep from others.
    pod.user = None
    client = SandyardSandboxClient()
    options = SandyardSandboxClientOptions(pool="python", exposed_ports=(8099,))
    async with await client.create(manifest=Manifest(root=root), options=options) as session:
        serve = "import socket; s = socket.create_server(('127.0.0.1', 8099)); c, _ = s.accept(); c.sendall(b'hello')"
        serving = asyncio.create_task(session.exec("python3", "-c", serve, shell=False))
        end = await session.resolve_exposed_port(8099)
        assert await session.resolve_exposed_port(8099) == end
        said = b""
        for _ in range(100):
            reader, writer = await asyncio.open_connection(end.host, end.port)
            said = await reader.read()
            writer.close()
            if said:
                break
        assert said == b"hello"
        await serving


async def test_a_sandbox_that_is_gone_is_told_and_ends_quietly(
    pod: LocalPod, root: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = SandyardSandboxClient()
    made = await client.create(manifest=Manifest(root=root), options=POOL)
    await made.start()
    inner = made._inner
    assert isinstance(inner, SandyardSandboxSession)
    assert await made.running()
    await inner.sandbox.kill()
    assert not await made.running()
    for call in (made.exec("true"), made.pty_exec_start("true"), made.pty_exec_start("true", tty=True)):
        with pytest.raises(ExecTransportError, match="was deleted"):
            await call
    await client.delete(made)
    assert not [record for record in caplog.records if record.name.startswith("sandyard.adapters")]


@pytest.mark.parametrize("wrong", [{}, {"pool": "a", "template": "b"}])
async def test_options_that_mean_nothing_are_refused(pod: LocalPod, wrong: dict[str, Any]) -> None:
    with pytest.raises(WorkspaceStartError, match="either a pool or a template"):
        await SandyardSandboxClient().create(options=SandyardSandboxClientOptions(**wrong))
    assert not pod.asked


def test_the_example_of_the_page_runs(pod: LocalPod, root: str, tmp_path: pathlib.Path) -> None:
    text = (paths.REPOSITORY / "docs" / "porting.md").read_text()
    (program,) = re.findall(r"^```python\n(import asyncio\n\nfrom agents .*?)^```", text, re.MULTILINE | re.DOTALL)
    # The model is the reader's own, and this machine has no /workspace.
    stand_in = (
        "from agents.sandbox.manifest import Manifest\n"
        "from tests.adapters.test_openai_agents import Scripted\n"
        "MODEL = Scripted(('exec_command', {'cmd': 'echo $((6 * 7))'}))\n"
    )
    program = program.replace('"gpt-5.1"', f"MODEL, default_manifest=Manifest(root={root!r})")
    (tmp_path / "agent.py").write_text(stand_in + program)
    done = subprocess.run(
        [sys.executable, "agent.py"], cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(paths.REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "42" in done.stdout
    assert pod.deleted
