"""An operator that ends, at whatever moment, is replaced by one that finishes what it had begun."""

from __future__ import annotations

import random
import threading
import time

import pytest

from tests.support import manifests, soak
from tests.support.kube import Kube, until
from tests.support.operator import OperatorProcess


def test_a_delete_while_no_operator_runs_is_finished_by_the_next(kube: Kube, operator: OperatorProcess) -> None:
    kube.apply(manifests.pool("python", 2))
    kube.wait_for("sandboxpool", "python", "Full")
    kube.create(manifests.sandbox("hello", "python"))
    kube.wait_for("sandbox", "hello", "Ready")
    operator.kill()
    kube.delete("sandbox", "hello", wait=False)
    assert kube.get("sandbox", "hello") is not None
    started = time.monotonic()
    operator.start()
    until("it is gone", lambda: kube.get("sandbox", "hello") is None, 30)
    assert time.monotonic() - started < 30
    # The namespace is cleared while the operator still runs.
    kube.delete("sandboxpool", "python")


@pytest.mark.soak
def test_kills_of_the_operator_leak_and_double_nothing(kube: Kube, operator: OperatorProcess) -> None:
    """SIGKILL at random moments while sandboxes are made and deleted."""
    rng = random.Random(soak.seed())
    replicas, total = soak.rounds(short=3, long=6), soak.rounds(short=10, long=50)
    kills_wanted, group = soak.rounds(short=5, long=20), soak.rounds(short=5, long=10)
    when_empty = {"action": "ColdStart", "waitSeconds": 600}
    kube.apply(manifests.pool("python", replicas, maxSandboxes=4 * replicas, whenEmpty=when_empty))
    kube.wait_for("sandboxpool", "python", "Full")
    names = [f"s{number}" for number in range(total)]
    kept = set(names[::5])
    deleted: set[str] = set()
    stop = threading.Event()
    failures: list[Exception] = []

    def use() -> None:
        """Make sandboxes in groups; delete each but every fifth once it was Ready."""
        try:
            for start in range(0, total, group):
                kube.create(*(manifests.sandbox(name, "python") for name in names[start : start + group]))
                going = [name for name in names[start : start + group] if name not in kept]
                for name in going:
                    kube.wait_for("sandbox", name, "Ready", timeout=300)
                    kube.delete("sandbox", name, wait=False)
                    deleted.add(name)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)
        finally:
            stop.set()

    user = threading.Thread(target=use)
    user.start()
    kills = 0
    while kills < kills_wanted or not stop.is_set():
        # A random moment: that is the point, there is no condition to wait for. Its start takes a second or two.
        time.sleep(rng.uniform(0.05, 4) if kills < kills_wanted else 0.5)
        if kills < kills_wanted:
            operator.kill()
            operator.start(wait=False)
            kills += 1
    user.join()
    assert not failures, failures

    until("only the kept ones are left", lambda: {i["metadata"]["name"] for i in kube.list("sandboxes")} == kept, 120)
    until(
        "every kept one is Ready",
        lambda: all(item["status"].get("phase") == "Ready" for item in kube.list("sandboxes")),
        120,
    )
    pods = [item["status"]["podUID"] for item in kube.list("sandboxes")]
    assert len(set(pods)) == len(kept), "a pod has two owners"
    until("the pool is whole", lambda: kube.status("sandboxpool", "python").get("replicas") == replicas, 120)

    def exact() -> bool:
        alive = [pod for pod in kube.list("pods") if "deletionTimestamp" not in pod["metadata"]]
        owners = [pod["metadata"]["labels"].get("sandyard.dev/sandbox-uid") for pod in alive]
        claimed = [owner for owner in owners if owner]
        return len(claimed) == len(set(claimed)) == len(kept) and len(alive) == len(kept) + replicas

    until("pods are those of the pool and of the sandboxes", exact, 60)
    kube.delete("sandboxes", "--all", timeout=120)
    kube.delete("sandboxpool", "python")
