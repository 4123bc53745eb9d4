"""Setup on real gVisor pods: it has its network, and the main process has not."""

from __future__ import annotations

from typing import Any

from tests.support import manifests
from tests.support.kube import Kube, until

OUTSIDE = "203.0.113.10"
OPEN = {"egress": "AllowList", "allow": [{"cidr": f"{OUTSIDE}/32", "ports": [{"port": 80}]}]}
# Tries for a while: a network that is being opened or closed takes a moment.
FETCH = f"""
import pathlib, time, urllib.request
for attempt in range(20):
    try:
        text = urllib.request.urlopen("http://{OUTSIDE}/", timeout=1).read()
        break
    except OSError:
        time.sleep(0.2)
else:
    raise SystemExit("the outside world is out of reach")
pathlib.Path("/workspace/fetched").write_bytes(text)
"""
# What the main process sees from its first moment on.
TRY = f"""
import pathlib, time, urllib.request
told = "closed"
for attempt in range(5):
    try:
        urllib.request.urlopen("http://{OUTSIDE}/", timeout=1)
        told = "open"
    except OSError:
        pass
pathlib.Path("/workspace/tried").write_text(told)
time.sleep(1000)
"""


def python(code: str) -> list[str]:
    return ["python3", "-c", code]


def read(kube: Kube, pod: str, path: str) -> str:
    return kube.kubectl("exec", pod, "-c", "sandbox", "--", "sh", "-c", f"cat {path} || true")


def setup(**fields: Any) -> dict[str, Any]:
    return {"command": python(FETCH), "timeoutSeconds": 60, **fields}


def test_the_setup_reaches_what_it_may_and_the_main_process_does_not(kube: Kube) -> None:
    template = manifests.template(setup=setup(network=OPEN), command=python(TRY))
    kube.apply(manifests.pool("prepared", 1, template))
    kube.wait_for("sandboxpool", "prepared", "Full", timeout=120)
    kube.create(manifests.sandbox("s", "prepared"))
    pod = kube.wait_for("sandbox", "s", "Ready")["podName"]
    assert f"reached {OUTSIDE}:80" in read(kube, pod, "/workspace/fetched")
    until("it has tried", lambda: read(kube, pod, "/workspace/tried"), 30)
    assert read(kube, pod, "/workspace/tried") == "closed"
    told = kube.get("pod", pod)
    assert told is not None
    assert told["metadata"]["labels"]["sandyard.dev/egress"] == "None"
    closed = told["status"]["initContainerStatuses"][2]["state"]["terminated"]
    assert '"network": "Enforced"' in closed["message"]
    kube.delete("sandbox", "s")


def test_a_setup_without_a_network_has_none_and_its_failure_is_told(kube: Kube) -> None:
    kube.create(manifests.sandbox("s", template=manifests.template(setup=setup())))
    until("it has failed", lambda: kube.status("sandbox", "s").get("phase") == "Failed", 90)
    told = kube.condition("sandbox", "s", "SetupCompleted")
    assert told is not None and (told["status"], told["reason"]) == ("False", "SetupFailed")
    assert "exit code 1" in told["message"] and "out of reach" in told["message"]
    until("nothing is left of it", lambda: kube.list("pods") == [], 30)
    kube.delete("sandbox", "s")
