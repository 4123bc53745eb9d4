"""What the client makes of what a sandbox says: processes, measures, outcomes, programs."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from typing import Any

import pytest

from sandyard.client import errors, metrics
from sandyard.client.code import code, languages
from sandyard.client.commands.background import parse_list
from sandyard.client.commands.processes import parse_processes
from sandyard.client.exec import script
from sandyard.client.result import CommandResult
from sandyard.client.session.end_watch import EndWatch

SHELLS = [shell for shell in ("dash", "bash", "busybox sh") if shutil.which(shell.split()[0])]


def shell(name: str, part: str, *words: str) -> bytes:
    return subprocess.run(
        [*name.split(), "-c", script.text(part), "x", *words], capture_output=True, timeout=60, check=True
    ).stdout


@pytest.mark.parametrize("name", SHELLS)
def test_processes_are_read_from_proc_by_any_shell(name: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60) # a (b) c"]) as process:
        try:
            found = {one.pid: one for one in parse_processes(shell(name, "processes"))}
        finally:
            process.kill()
    ours = found[process.pid]
    assert ours.command.endswith("-c import time; time.sleep(60) # a (b) c")
    assert ours.state in "RSD"
    assert ours.memory_bytes > 1_000_000


def test_a_process_may_have_any_name() -> None:
    stat = "7 (a) (b c) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 5 1000 25 18446744073709551615"
    (found,) = parse_processes(f"{stat}\0\0".encode())
    assert (found.pid, found.parent, found.state, found.command) == (7, 1, "S", "[a) (b c]")
    assert (found.cpu_seconds, found.memory_bytes) == (2.0, 25 * 4096)
    assert parse_processes(b"rubbish\0x\0") == []


def test_background_commands_are_listed_oldest_first() -> None:
    told = b"b" * 32 + b"\0007\000200\000-\000sleep 9\nx\000" + b"a" * 32 + b"\0006\000100\0003\000true\000"
    first, second = parse_list(told)
    assert (first.id, first.exit_code, first.running) == ("a" * 32, 3, False)
    assert (second.command, second.pid, second.started_at, second.running) == ("sleep 9\nx", 7, 200, True)
    assert parse_list(b"") == []


@pytest.mark.parametrize(
    ("told", "cores", "memory", "source"),
    [
        ("cgroup 10.0 1000000 7\ncgroup 10.5 1250000 9000\n", 0.5, 9000, "cgroup"),
        ("proc 10.0 100 1\nproc 12.0 300 50\n", 1.0, 50 * 4096, "proc"),
        # A process that has ended takes its time with it.
        ("proc 10.0 100 1\nproc 12.0 50 50\n", 0.0, 50 * 4096, "proc"),
    ],
)
def test_measures_from_inside(told: str, cores: float, memory: int, source: str) -> None:
    found = metrics.parse_usage(told + "disk 1024-blocks Used\ndisk 1000 10\n")
    assert (found.cpu_cores, found.memory_bytes, found.source) == (cores, memory, source)
    assert (found.disk_used_bytes, found.disk_total_bytes) == (10 * 1024, 1000 * 1024)
    assert metrics.parse_usage(told).disk_used_bytes is None


def test_measures_of_the_metrics_api() -> None:
    inside = metrics.Metrics(0, 0, 5, 6, "proc")
    body = {
        "containers": [{"usage": {"cpu": "250000000n", "memory": "10Mi"}}, {"usage": {"cpu": "1", "memory": "1Ki"}}]
    }
    found = metrics.parse_pod_metrics(body, inside)
    assert (found.cpu_cores, found.memory_bytes) == (1.25, 10 * 2**20 + 1024)
    assert (found.disk_used_bytes, found.disk_total_bytes, found.source) == (5, 6, "metrics.k8s.io")


@pytest.mark.parametrize("name", SHELLS)
def test_an_environment_is_told_by_any_shell(name: str) -> None:
    found = metrics.parse_environment(shell(name, "environment").decode())
    assert found.arch and found.kernel.startswith("Linux") and found.hostname
    assert found.processors > 0 and found.memory_bytes > 10**8
    assert found.tools["python3"].startswith("Python 3")
    assert all(total > 0 for total, _, _ in found.disks.values())
    assert metrics.parse_environment("").processors == 0


def test_cpu_time_as_times_tells_it() -> None:
    assert code.cpu_seconds(b"0m0.01s 0m0.02s\n1m2.50s 0m0.25s\n") == 62.75
    assert code.cpu_seconds(b"") is None


@pytest.mark.parametrize(
    ("exit_code", "stderr", "left", "outcome"),
    [
        (0, b"PermissionError", {}, "success"),
        (1, b"ZeroDivisionError", {}, "program_error"),
        (1, b"PermissionError: [Errno 13] Permission denied: '/x'", {}, "unauthorized_access"),
        (1, b"Permission denied" + b"x" * 2000, {}, "program_error"),
        (139, b"", {}, "runtime_error"),
        (137, b"", {}, "runtime_error"),
        (159, b"", {}, "unauthorized_access"),
        (127, b"", {"no-runner": b""}, "program_runner_error"),
        (127, b"", {}, "program_error"),
    ],
)
def test_outcomes(exit_code: int, stderr: bytes, left: dict[str, bytes], outcome: str) -> None:
    assert code._outcome(CommandResult(exit_code, b"", stderr), None, left) == outcome
    assert code._outcome(CommandResult(exit_code, b"", stderr), "time", left) == "resource_limit_exceeded"


def test_programs_of_each_language() -> None:
    for name, language in languages.LANGUAGES.items():
        assert languages.of(name.upper()) is language
        made = languages.files(language, "CODE", called=False)
        assert set(made) == {language.file, "runner.sh"}
        assert made[language.file] == "CODE"
        subprocess.run(["sh", "-n"], input=made["runner.sh"], text=True, check=True)
    assert languages.of("ts") is languages.LANGUAGES["typescript"]
    assert languages.of("cobol") is None
    javascript = languages.LANGUAGES["javascript"]
    for program, file in (("import x from 'x'", "main.mjs"), ("const a = import('x')", "main.js")):
        made = languages.files(javascript, program, called=False)
        assert file in made and file in made["runner.sh"]
    python = languages.files(languages.LANGUAGES["python"], "CODE", called=True)
    assert python["main.py"] == "CODE" and "call.py" in python["runner.sh"]
    assert (
        "GOCACHE=${GOCACHE:-/tmp/.go-cache}" in languages.files(languages.LANGUAGES["go"], "", called=True)["runner.sh"]
    )


async def test_one_look_serves_all_who_hold_on_to_it() -> None:
    looks = 0
    lost: asyncio.Future[errors.SandboxError] = asyncio.get_running_loop().create_future()

    async def look() -> errors.SandboxError:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise errors.Unavailable("for a moment")
        return await lost

    watch = EndWatch(look)
    async with watch.held() as one, watch.held() as two:
        assert one is two
        lost.set_result(errors.SandboxDeleted("gone"))
        async with asyncio.timeout(5):
            assert (await one).code == "Deleted"
    assert looks == 2
    async with watch.held() as again:
        assert again is not one
    assert again.cancelled()


async def test_an_error_of_the_look_is_the_reason_and_no_right_to_look_is_none() -> None:
    async def missing() -> Any:
        raise errors.SandboxNotFound("gone")

    async def forbidden() -> Any:
        raise errors.Unauthorized("no")

    async with EndWatch(missing).held() as losing:
        assert isinstance(await losing, errors.SandboxNotFound)
    async with EndWatch(forbidden).held() as losing:
        await asyncio.sleep(0.01)
        assert not losing.done()
