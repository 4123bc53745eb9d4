"""What the client makes of what a sandbox says: processes, measures, outcomes, programs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from sandyard.client import errors, metrics
from sandyard.client.code import code, languages
from sandyard.client.code.denied import denied
from sandyard.client.commands.background import parse_list
from sandyard.client.commands.processes import parse_processes
from sandyard.client.exec import script
from sandyard.client.result import CommandResult
from sandyard.client.session.end_watch import EndWatch
from tests.unit.shells import SHELLS


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
    ("exit_code", "refused", "left", "outcome"),
    [
        (0, True, {}, "success"),
        (1, False, {}, "program_error"),
        (1, True, {}, "unauthorized_access"),
        (139, False, {}, "runtime_error"),
        (137, True, {}, "runtime_error"),
        (159, False, {}, "unauthorized_access"),
        (127, False, {"no-runner": b""}, "program_runner_error"),
        (127, False, {}, "program_error"),
    ],
)
def test_outcomes(exit_code: int, refused: bool, left: dict[str, bytes], outcome: str) -> None:
    assert code._outcome(CommandResult(exit_code), None, left, refused=refused) == outcome
    assert code._outcome(CommandResult(exit_code), "time", left, refused=refused) == "resource_limit_exceeded"


REFUSED = [
    ("python", b"PermissionError: [Errno 13] Permission denied: '/x'\n"),
    ("python", b"OSError: [Errno 30] Read-only file system: '/x'"),
    ("python", b"OSError: [Errno 101] Network is unreachable"),
    ("python", b"urllib.error.URLError: <urlopen error [Errno 101] Network is unreachable>"),
    ("javascript", b"Error: EACCES: permission denied, open '/x'\n  errno: -13,\n  code: 'EACCES',\n}\nNode.js v22"),
    ("javascript", b"EACCES: permission denied, open '/x'\n errno: -13,\n code: \"EACCES\"\n"),
    ("typescript", b"error: Uncaught PermissionDenied: Permission denied (os error 13), open '/x'"),
    ("go", b"panic: open /etc/x: permission denied\n\ngoroutine 1 [running]:\nexit status 2"),
    ("rust", b'Err` value: Os { code: 13, kind: PermissionDenied, message: "Permission denied" }'),
    ("bash", b"main.sh: line 1: /etc/x: Permission denied\n"),
    ("ruby", b"main.rb:1:in `initialize': Permission denied @ rb_sysopen - /x (Errno::EACCES)"),
]
LOST = [
    ("python", b"socket.gaierror: [Errno -3] Temporary failure in name resolution"),
    ("python", b"urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>"),
    ("python", b"TimeoutError: timed out"),
    ("python", b"TimeoutError: [Errno 110] Connection timed out"),
    ("python", b"requests.exceptions.ConnectTimeout: HTTPConnectionPool(host='169.254.169.254'): timed out"),
    ("python", b"OSError: [Errno 113] No route to host"),
    (
        "python",
        b"aiohttp.client_exceptions.ClientConnectorDNSError: Cannot connect to host x:80 ssl:default "
        b"[Temporary failure in name resolution]",
    ),
    ("python", b"urllib3.exceptions.MaxRetryError: x (Caused by NameResolutionError(\"Failed to resolve 'x'\"))"),
    ("javascript", b"Error: connect ETIMEDOUT 1.2.3.4:80\n"),
    ("bash", b"wget: unable to resolve host address 'x'\n"),
    ("bash", b"curl: (7) Failed to connect to 1.2.3.4 port 80 after 1 ms: Could not connect to server\n"),
    ("javascript", b"Error: getaddrinfo EAI_AGAIN example.com\n  code: 'EAI_AGAIN'"),
    ("go", b'Get "http://x": dial tcp: lookup x: no such host\nexit status 1'),
    ("bash", b"curl: (6) Could not resolve host: example.com\n"),
    ("ruby", b"x: Failed to open TCP connection (Socket::ResolutionError)"),
]
OWN = [
    ("python", b"ValueError: Permission denied"),
    ("python", b"RuntimeError: Network is unreachable\n"),
    ("python", b"ValueError: PermissionError: no"),
    ("python", b"PermissionError: [Errno 13] x\n\nDuring handling of ...\nKeyError: 'a'"),
    ("python", b"PermissionError: handled\n" + b"x\n" * 1000),
    ("python", b"TimeoutError"),
    ("python", b"ConnectionRefusedError: [Errno 111] Connection refused"),
    ("javascript", b"Error: Permission denied\n    at main (main.js:1)"),
    ("javascript", b"Error: it may say EACCES or ENOTFOUND\n    at main (main.js:1)"),
    ("bash", b"Permission denied"),
    ("bash", b"curl: (7) Failed to connect to localhost port 80 after 1 ms: Could not connect to server\n"),
    ("ruby", b"main.rb:1:in `x': Permission denied (RuntimeError)"),
]


@pytest.mark.parametrize(("language", "said"), REFUSED)
def test_a_call_that_was_refused_is_unauthorized(language: str, said: bytes) -> None:
    assert denied(language, b"Traceback ...\n" + said, closed=False)


@pytest.mark.parametrize(("language", "said"), LOST)
def test_what_a_closed_network_lets_wait_is_unauthorized_there_alone(language: str, said: bytes) -> None:
    assert denied(language, b"Traceback ...\n" + said, closed=True)
    assert not denied(language, b"Traceback ...\n" + said, closed=False)


@pytest.mark.parametrize(("language", "said"), OWN)
def test_a_word_alone_is_the_programs_own_error(language: str, said: bytes) -> None:
    assert not denied(language, b"Traceback ...\n" + said, closed=True)


REFUSED_HERE = b"ConnectionRefusedError: [Errno 111] Connection refused\n"


@pytest.mark.parametrize(
    ("language", "said", "program", "refused"),
    [
        ("python", b"  connect(('203.0.113.10', 80))\n" + REFUSED_HERE, b"", True),
        ("python", b"  connect(('127.0.0.1', 80))\n" + REFUSED_HERE, b"x = '203.0.113.10'", False),
        ("python", REFUSED_HERE, b"host = '203.0.113.10'\nconnect((host, 80))", True),
        ("python", REFUSED_HERE, b"connect(('::1', 80)); connect(('203.0.113.10', 80))", False),
        ("python", REFUSED_HERE, b"connect(('fd00::5', 80))", True),
        ("python", REFUSED_HERE, b"x[::2] + y[a::b] + '12:30:45'", False),
        ("python", b"ValueError: 203.0.113.10: Connection refused\n", b"", False),
        ("python", b"  urlopen('http://169.254.169.254/')\n"
                   b"urllib.error.URLError: <urlopen error [Errno 111] Connection refused>\n", b"", True),
        ("python", b"ConnectionRefusedError: [Errno 111] Connect call failed ('203.0.113.10', 80)", b"", True),
        ("javascript", b"Error: connect ECONNREFUSED 203.0.113.10:80\n", b"", True),
        ("javascript", b"Error: connect ECONNREFUSED 127.0.0.1:80\n", b"", False),
        ("go", b"dial tcp 203.0.113.10:80: connect: connection refused\nexit status 1", b"", True),
        ("go", b"dial tcp [fd00::5]:80: connect: connection refused\nexit status 1", b"", True),
        ("ruby", b"connection to localhost:80 (Connection refused) (Errno::ECONNREFUSED)", b"", False),
        ("bash", b"main.sh: line 1: /dev/tcp/203.0.113.10/80: Connection refused\n", b"", True),
    ],
)  # fmt: skip
def test_a_connection_that_a_closed_network_turns_away_is_unauthorized(
    language: str, said: bytes, program: bytes, refused: bool
) -> None:
    assert denied(language, b"Traceback ...\n" + said, closed=True, program=program) is refused
    assert not denied(language, b"Traceback ...\n" + said, closed=False, program=program)


def test_a_text_that_looks_like_a_module_is_none() -> None:
    common = ["x = `\nimport a\n`", "/*\nimport a from 'a'\n*/ const y = 1", "// x\nvar z = 'a\\\nexport b'",
              'const s = "`";\nconst t = `${s}\nexport default 1`',
              "const t = `${ f({ a: `\nimport a\n` }) }\nimport b`", "const r = /`/;\nconst t = `\nimport a`",
              "const r = s.replace(/[`'/]/g, `\nexport a`)"]  # fmt: skip
    modules = [
        "import 'a'",
        "const s = `a`\nimport x from 'y'",
        "import{a} from 'b'",
        "// '\nexport const a = 1",
        "const r = /['`]/;\nimport a from 'b'",
        "if (`${ {} }`) { a / b }\nexport { c }",
        "\n\n  import a from 'b'",
    ]
    javascript = languages.LANGUAGES["javascript"]
    assert all("main.js" in languages.files(javascript, text, called=False) for text in common)
    assert all("main.mjs" in languages.files(javascript, text, called=False) for text in modules)


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
