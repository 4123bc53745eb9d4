"""`run_code` never raises for what a program does, and runs it as the language itself would."""

from __future__ import annotations

import os
import pathlib
import tempfile
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.code import code
from sandyard.client.exec.command import Command
from tests.unit.local_pod import LocalPod

pytestmark = pytest.mark.timeout(60)
NOBODY = 65534


@pytest.mark.parametrize(
    "program",
    [
        "import os, shutil; shutil.rmtree(os.getcwd())",
        "import os; os.rename(os.getcwd(), os.getcwd() + '-gone')",
        "import os; os.chmod('artifacts', 0); os.chmod('.', 0)",
        "import os; [os.mkfifo(name) for name in ('usage', 'skipped', 'result.json', 'no-runner', 'artifacts/a.csv')]",
        "import os; os.mkdir('usage'); os.mkdir('skipped'); os.symlink('/', 'result.json'); "
        "os.rmdir('artifacts'); os.symlink('/dev/zero', 'artifacts')",
    ],
)  # fmt: skip
async def test_whatever_becomes_of_its_folder_a_program_that_ends_well_has(sandbox: AsyncSandbox, program: str) -> None:
    done = await sandbox.run_code(program, timeout=20)
    assert (done.outcome, done.exit_code, done.artifacts) == ("success", 0, [])


async def test_a_program_that_ends_its_own_runner_is_ended_by_a_signal(sandbox: AsyncSandbox) -> None:
    done = await sandbox.run_code("import os, signal; os.kill(os.getppid(), 9); os.kill(os.getpid(), 9)")
    assert (done.outcome, done.exit_code) == ("runtime_error", 137)


async def test_one_that_ends_the_sandboxs_main_process_is_a_runtime_error(
    inside: tuple[LocalPod, AsyncSandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sandbox = inside

    async def ended(*_: object) -> None:
        raise errors.SandboxEnded("its main process ended", reason="Error")

    monkeypatch.setattr(code.runner, "run", ended)
    monkeypatch.setattr(code.Tools, "run", lambda *_, **__: _nothing())
    heard: list[bytes] = []
    done = await sandbox.run_code("import os; os.kill(-1, 9)", on_stderr=heard.append)
    assert (done.outcome, done.exit_code) == ("runtime_error", None)
    assert heard == [done.stderr] == [b"its main process ended"]


async def _nothing() -> bytes:
    return b""


async def test_a_place_that_a_program_has_taken_is_told(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(code, "_FOLDER", f"{tmp_path}/file/code")
    heard: list[bytes] = []
    done = await sandbox.run_code("print(1)", on_stderr=heard.append)
    assert done.outcome == "program_runner_error"
    assert heard == [done.stderr]
    assert b"cannot be made" in done.stderr
    assert b"cannot be made" in done.stderr


@pytest.mark.parametrize(
    "program",
    [
        """
        import pickle
        class Point:
            def __init__(self, x): self.x = x
        def main(x):
            return pickle.loads(pickle.dumps(Point(x))).x
        """,
        """
        from concurrent.futures import ProcessPoolExecutor
        def double(n): return n / 2
        def main(x):
            with ProcessPoolExecutor(1) as pool:
                return list(pool.map(double, [2 * x]))[0]
        """,
        """
        from __future__ import annotations
        import typing, dataclasses
        @dataclasses.dataclass
        class A:
            b: B
        class B: pass
        def main(x):
            assert typing.get_type_hints(A) == {"b": B}
            return x
        """,
        """
        import multiprocessing
        def put(queue, n): queue.put(n)
        def main(x):
            context = multiprocessing.get_context("spawn")
            queue = context.Queue()
            process = context.Process(target=put, args=(queue, x))
            process.start()
            return queue.get(timeout=20)
        """,
        "async def main(x):\n    return x if __name__ == '__main__' else None",
    ],
)
async def test_with_arguments_too_the_program_is_main(sandbox: AsyncSandbox, program: str) -> None:
    done = await sandbox.run_code(textwrap.dedent(program), args=[5], timeout=40)
    assert (done.outcome, done.value) == ("success", 5), done.stderr_text


async def test_what_a_setup_has_installed_for_the_user_is_there(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    where = await sandbox.run_code("import site; print(site.getusersitepackages())")
    folder = pathlib.Path(where.stdout_text.strip())
    assert folder.is_relative_to(tmp_path)
    await sandbox.files.write(str(folder / "installed.py"), "value = 7")
    done = await sandbox.run_code("import installed; print(installed.value)", env={"PYTHONPATH": "/nowhere"})
    assert done.stdout == b"7\n", done.stderr_text


@pytest.mark.parametrize("name", ["B.PNG", "c.Csv", "d.jpeg"])
async def test_the_ending_of_an_artifact_may_be_of_any_case(sandbox: AsyncSandbox, name: str) -> None:
    done = await sandbox.run_code(f"import os; open(os.environ['SANDYARD_ARTIFACTS'] + '/{name}', 'w').write('x')")
    assert [one.name for one in done.artifacts] == [name], done.skipped


async def test_a_network_is_closed_as_the_sandbox_its_template_or_its_pool_says(
    inside: tuple[LocalPod, AsyncSandbox],
) -> None:
    pod, sandbox = inside
    for spec, closed in (
        ({"template": {"image": "x"}}, True),
        ({"template": {"image": "x", "network": {"egress": "Internet"}}}, False),
        ({"template": {"image": "x"}, "network": {"egress": "Internet"}}, False),
        ({"template": {"image": "x", "network": {"egress": "Internet"}}, "network": {"egress": "None"}}, True),
        ({"poolRef": {"name": "gone"}}, False),
    ):
        pod.body = {**pod.body, "spec": spec}
        await sandbox.get_info()
        assert await code.is_closed(sandbox._session) is closed
    pod.body["spec"] = {"template": {"image": "x"}}
    await sandbox.get_info()
    done = await sandbox.run_code("import socket; raise socket.gaierror(-3, 'Temporary failure in name resolution')")
    assert done.outcome == "unauthorized_access"


@pytest.fixture
def places() -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """The sandbox's own folder and that of programs, of a user who is not root."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        found = pathlib.Path(made, "workspace"), pathlib.Path(made, "code")
        for folder in (pathlib.Path(made), *found):
            folder.mkdir(exist_ok=True)
            os.chown(folder, NOBODY, NOBODY)
        yield found
        if found[0].exists():
            found[0].chmod(0o700)


@pytest.mark.parametrize("program", ["chmod 0 {}", "rm -rf {}", "cd /; mv {0} {0}2"])
async def test_what_becomes_of_the_sandboxs_own_folder_raises_nothing(
    inside: tuple[LocalPod, AsyncSandbox], places: tuple[pathlib.Path, pathlib.Path], monkeypatch: pytest.MonkeyPatch,
    program: str,
) -> None:  # fmt: skip
    pod, sandbox = inside
    pod.user, pod.folder = NOBODY, places[0]
    monkeypatch.setattr(code, "_FOLDER", str(places[1]))
    (places[0] / "artifact").touch()
    text = program.format(places[0]) + '; echo x >"$SANDYARD_ARTIFACTS/a.csv"; echo said'
    done = await sandbox.run_code(text, "bash")
    assert (done.outcome, done.stdout) == ("success", b"said\n")
    if places[0].exists():
        assert [one.name for one in done.artifacts] == ["a.csv"]
        assert not list(places[1].iterdir())
        assert (await sandbox.run_code("echo again", "bash")).stdout == b"again\n"
    else:
        # No node begins anything where there is no folder.
        assert done.skipped[0].startswith("all: ")


@pytest.mark.parametrize("error", [errors.ExecTransportError("lost", started=True), errors.PermissionDenied("no"),
                                   errors.SandboxFileNotFound("gone"), errors.BadAnswer("odd")])  # fmt: skip
async def test_what_cannot_be_collected_is_told_of_in_the_result(
    sandbox: AsyncSandbox, monkeypatch: pytest.MonkeyPatch, error: errors.SandboxError
) -> None:
    run = code.runner.run

    async def failing(session: Any, command: Command, *args: Any) -> Any:
        if "sandyard-collect" in command.words:
            raise error
        return await run(session, command, *args)

    monkeypatch.setattr(code.runner, "run", failing)
    done = await sandbox.run_code("print('said')")
    assert (done.outcome, done.stdout, done.skipped) == ("success", b"said\n", [f"all: {error}"])
