"""Where time goes while claims come: the operator by py-spy, the API server by its own profiler.

Simulated nodes and the load of ``make bench``.  Leaves the operator's stacks, as flamegraph tools read them, and a
profile of the API server, as ``go tool pprof`` reads it, and prints the functions that take the most of each.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import pathlib
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from localcluster import tools
from sandyard.kube.client import Client
from sandyard.kube.config import ClusterConfig
from tests.bench.crowd import crowd
from tests.bench.plane import GROUPS
from tests.bench.subjects import NAMESPACE, POOL, SUBJECTS, Subject, installed
from tests.support.kube import Kube

__all__ = ["main", "operator_table"]

_REPLICAS: Final = 150
_HOLD_SECONDS: Final = 3.0
_SHOWN: Final = 50
_REQUESTS: Final = re.compile(r"^apiserver_request_total\{(.+?)\} (\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="(.*?)"')


Requests = collections.Counter[str]


async def _profile(kube: Kube, pid: int, wanted: argparse.Namespace) -> tuple[int, Requests]:
    """Claims for as long as both profilers look; how many became Ready, and what the API server was asked."""
    folder: pathlib.Path = wanted.folder
    subject = _subject(wanted)
    async with crowd(kube.kubeconfig, NAMESPACE, finalizers=subject.finalizers) as users:
        before = await _requests(users.client)
        api_server = asyncio.create_task(_fetch(users.client.config, wanted.seconds))
        spy = await asyncio.create_subprocess_exec(
            *_spy("--format", "raw", "-o", str(folder / "operator.raw")), "-d", str(wanted.seconds), "-p", str(pid),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        outcome = await users.steady(POOL, wanted.rate, wanted.seconds, _HOLD_SECONDS, seed=1)
        _keep(folder / "api-server.pprof", await api_server)
        assert await spy.wait() == 0, "py-spy has failed: it needs the right to look at other processes"
        after = await _requests(users.client)
    return len(outcome.latencies), after - before


def _subject(wanted: argparse.Namespace) -> Subject:
    return next(item for item in SUBJECTS if item.name == wanted.subject)


async def _requests(client: Client) -> Requests:
    """How often the API server was asked so far, by what and how it ended."""
    found = Requests()
    for labels, count in _REQUESTS.findall((await client.request("GET", "/metrics")).decode()):
        named = dict(_LABEL.findall(labels))
        resource = "/".join(part for part in (named["resource"], named["subresource"]) if part)
        found[f"{named['verb']:7} {resource:28} {named['code']}"] += int(float(count))
    return found


def _requests_table(requests: Requests, lives: int) -> str:
    return "\n".join(f"{count / lives:6.2f}  {what}" for what, count in requests.most_common() if count * 50 > lives)


def _keep(target: pathlib.Path, data: bytes) -> None:
    target.write_bytes(data)


def _spy(*options: str) -> list[str]:
    return [str(pathlib.Path(sys.executable).with_name("py-spy")), "record", "-r", "200", *options]


async def _fetch(config: ClusterConfig, seconds: int) -> bytes:
    async with Client(config, timeout_seconds=seconds + 60) as client:
        return await client.request("GET", "/debug/pprof/profile", params={"seconds": str(seconds)})


def operator_table(raw: pathlib.Path) -> str:
    """Functions by the share of samples in which they, or what they call, were running."""
    total, found = 0, collections.Counter[str]()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        total += int(count)
        for function in {frame.partition(":")[0] for frame in stack.split(";")}:
            found[function] += int(count)
    rows = [f"{100 * count / max(1, total):6.1f} %  {function}" for function, count in found.most_common(_SHOWN)]
    return "\n".join(rows)


def _api_server_table(profile: pathlib.Path) -> str:
    go = shutil.which("go")
    if go is None:
        return f"(go is not on the path: go tool pprof -top -cum {profile})"
    shown = subprocess.run(
        [go, "tool", "pprof", "-top", "-cum", f"-nodecount={_SHOWN}", str(profile)], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return shown.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=8, help="claims a second")
    parser.add_argument("--seconds", type=int, default=15, help="how long")
    parser.add_argument("--subject", default=SUBJECTS[0].name, choices=[item.name for item in SUBJECTS])
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("build/profile"), help="where files go")
    wanted = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted.folder.mkdir(parents=True, exist_ok=True)
    tools.ensure(GROUPS)
    subject = _subject(wanted)
    with installed(subject) as (_, kube, folder), subject.start(kube, folder, _REPLICAS) as pid:
        print(f"{wanted.rate:g} claims a second for {wanted.seconds} s ...", flush=True)
        count, requests = asyncio.run(_profile(kube, pid, wanted))
    print(f"{count} claims\n\nRequests a claim, anybody's:\n{_requests_table(requests, count)}")
    print(f"\nOperator ({wanted.folder / 'operator.raw'}):")
    print(operator_table(wanted.folder / "operator.raw"))
    print(f"\nAPI server ({wanted.folder / 'api-server.pprof'}):")
    print(_api_server_table(wanted.folder / "api-server.pprof"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
