"""What the chart's admission policies cost each kind of write of a Sandbox's life, all together and each by itself.

Every write is a dry run, sent one at a time to a control plane with simulated nodes: it goes through admission and
leaves nothing.  Printed are medians, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import pathlib
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from localcluster import tools
from sandyard.kube import config as kube_config
from sandyard.kube.client import Client
from tests.bench.crowd import SANDBOXES
from tests.bench.plane import GROUPS
from tests.bench.subjects import NAMESPACE, POOL, SUBJECTS, installed
from tests.support import manifests
from tests.support.admission import MERGE
from tests.support.kube import Kube

__all__ = ["main"]

_REPLICAS: Final = 5
_WARM_UP: Final = 20
# An API server sees within a second or two that a policy is bound no more.
_SETTLES_SECONDS: Final = 3.0
_BINDINGS: Final = "validatingadmissionpolicybindings"
_JSON: Final = "application/json"
Writes = Mapping[str, Callable[[], Awaitable[object]]]


def _writes(kube: Kube, user: Client, operator: Client) -> Writes:
    """The writes of a life, each as who sends it."""
    kube.create(manifests.sandbox("one", POOL))
    claimed = kube.wait_for("sandbox", "one", "Ready")["podName"]
    sandbox, pods = SANDBOXES.path(NAMESPACE, "one"), f"/api/v1/namespaces/{NAMESPACE}/pods"
    made = kube.get("pod", claimed)
    assert made is not None
    kept = {key: made["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    pod = {"metadata": {**kept, "name": "another"}, "spec": {**made["spec"], "nodeName": None}}

    def send(client: Client, verb: str, path: str, body: object = None, content_type: str = _JSON) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        options = {"body": data, "content_type": content_type} if data is not None else {}
        return functools.partial(client.request, verb, path, params={"dryRun": "All"}, **options)

    return {
        "POST sandbox": send(user, "POST", SANDBOXES.path(NAMESPACE), manifests.sandbox("another", POOL)),
        "PATCH pod": send(operator, "PATCH", f"{pods}/{claimed}",
                          {"metadata": {"labels": {"sandyard.dev/egress": "None"}}}, MERGE),
        "PATCH status": send(operator, "PATCH", f"{sandbox}/status", {"status": {"phase": "Ready"}}, MERGE),
        "DELETE sandbox": send(user, "DELETE", sandbox),
        "DELETE pod": send(operator, "DELETE", f"{pods}/{claimed}"),
        "POST pod": send(operator, "POST", pods, pod),
    }  # fmt: skip


async def _median(write: Callable[[], Awaitable[object]], count: int) -> float:
    times = []
    for number in range(-_WARM_UP, count):
        began = time.perf_counter()
        await write()
        if number >= 0:
            times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


async def _row(title: str, writes: Writes, count: int) -> None:
    medians = [await _median(write, count) for write in writes.values()]
    print(f"{title:44}" + "".join(f"{median:16.2f}" for median in medians), flush=True)


async def _measure(kube: Kube, operator_config: pathlib.Path, count: int, *, each: bool) -> None:
    async with (
        Client(kube_config.load(str(kube.kubeconfig)), timeout_seconds=30) as user,
        Client(kube_config.load(str(operator_config)), timeout_seconds=30) as operator,
    ):
        writes = _writes(kube, user, operator)
        print(" " * 44 + "".join(f"{name:>16}" for name in writes))
        bindings = {item["metadata"]["name"]: item for item in kube.list(_BINDINGS)}
        await _row("(warming up)", writes, count)
        await _row("all policies", writes, count)
        for name, body in bindings.items() if each else ():
            kube.delete(_BINDINGS, name)
            await asyncio.sleep(_SETTLES_SECONDS)
            await _row(f"without {name}", writes, count)
            kube.apply_as_is({**body, "metadata": {"name": name, "labels": body["metadata"]["labels"]}})
        for name in bindings:
            kube.delete(_BINDINGS, name)
        await asyncio.sleep(_SETTLES_SECONDS)
        await _row("no policy", writes, count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=150, help="how often each write is sent")
    parser.add_argument("--each", action="store_true", help="also without each of the policies (two minutes more)")
    wanted = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tools.ensure(GROUPS)
    with installed(SUBJECTS[0]) as (_, kube, folder), SUBJECTS[0].start(kube, folder, _REPLICAS):
        asyncio.run(_measure(kube, folder / "operator.kubeconfig", wanted.count, each=wanted.each))
    return 0


if __name__ == "__main__":
    sys.exit(main())
