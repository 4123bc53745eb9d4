"""Network profiles beyond None and Internet, and changes of a network while a sandbox runs."""

from __future__ import annotations

import time
from typing import Any

from localcluster import network
from tests.cluster.test_isolation import FORBIDDEN, INTERNET, inside, reached
from tests.support import manifests
from tests.support.kube import Kube, until
from tests.support.release import Installed

OUTSIDE = {"cidr": "203.0.113.10/32", "ports": [{"port": 80}]}


def change(kube: Kube, name: str, **spec: Any) -> None:
    kube.patch("sandbox", name, {"spec": spec})


def test_an_allow_list_opens_what_it_lists_in_a_warm_sandbox(kube: Kube, installed: Installed) -> None:
    kube.apply(manifests.pool("closed", 2, allowedEgress=["None", "AllowList"]))
    kube.wait_for("sandboxpool", "closed", "Full")
    lists = {"one": [OUTSIDE], "all": [{"cidr": "0.0.0.0/0"}]}
    pods = {}
    for name, allow in lists.items():
        kube.create(manifests.sandbox(name, "closed", network={"egress": "AllowList", "allow": allow}))
        status = kube.wait_for("sandbox", name, "Ready")
        assert status["start"] == "Warm"
        pods[name] = status["podName"]
    targets = [target.format(node=installed.cluster.node_address) for target in FORBIDDEN]
    until("what it lists", lambda: reached(kube, pods["one"], INTERNET), 10)
    assert reached(kube, pods["one"], *targets) == set()
    # A private address may be listed; the API server and cloud metadata never open.
    until("all the rest", lambda: reached(kube, pods["all"], "10.9.9.9:80"), 10)
    shut = [target for target in targets if not target.startswith("10.9.9.9") and ":10250" not in target]
    assert reached(kube, pods["all"], *shut) == set()


def test_a_network_is_changed_while_the_sandbox_runs(kube: Kube) -> None:
    kube.apply(manifests.pool("closed", 1, allowedEgress=["None", "AllowList"]))
    kube.wait_for("sandboxpool", "closed", "Full")
    kube.create(manifests.sandbox("s", "closed"))
    before = kube.wait_for("sandbox", "s", "Ready")
    pod = before["podName"]
    inside(kube, pod, "sh", "-c", "echo started > /workspace/file; (setsid sleep 100000 >/dev/null 2>&1 &)")
    assert reached(kube, pod, INTERNET) == set()

    change(kube, "s", network={"egress": "AllowList", "allow": [OUTSIDE]})
    until("open", lambda: reached(kube, pod, INTERNET), 10)
    change(kube, "s", network={"egress": "None", "allow": None})
    until("closed again", lambda: not reached(kube, pod, INTERNET), 15)
    change(kube, "s", network={"egress": "Internet"})
    kube.wait_reason("sandbox", "s", "Stalled", ["EgressNotAllowed"], 10)
    assert reached(kube, pod, INTERNET) == set()
    # The same pod, with the same processes.
    assert kube.status("sandbox", "s")["podUID"] == before["podUID"]
    assert "100000" in inside(kube, pod, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    change(kube, "s", network={"egress": "None"})
    until("it is well", lambda: kube.condition("sandbox", "s", "Stalled")["status"] == "False", 10)  # type: ignore[index]


def test_the_network_stays_closed_until_the_pod_is_gone(kube: Kube, installed: Installed) -> None:
    """A process that ignores TERM and tries all the time, in the last sandbox of its namespace."""
    stubborn = (
        "import signal, socket\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True:\n"
        "    try:\n"
        "        socket.create_connection(('203.0.113.10', 80), timeout=0.2).close()\n"
        "    except OSError: pass\n"
    )
    template = manifests.template(command=["python3", "-c", stubborn], terminationGracePeriodSeconds=6)
    kube.create(manifests.sandbox("s", template=template))
    pod = kube.wait_for("sandbox", "s", "Ready")["podName"]
    before = network.outside_counters(installed.cluster)
    kube.delete("sandbox", "s", wait=False)
    seen = 0
    started = time.monotonic()
    while kube.get("pod", pod) is not None and time.monotonic() - started < 60:
        assert kube.get("networkpolicy", "sandyard-closed") is not None, "the policy went before the pod"
        seen += 1
    assert seen > 3, "it was looked at while it ended"
    assert network.outside_counters(installed.cluster) == before, "packets left the node"
    until("the Sandbox is gone", lambda: kube.get("sandbox", "s") is None, 20)
    until("no policy is left", lambda: kube.list("networkpolicies") == [], 20)
