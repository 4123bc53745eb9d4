"""Paused and running again, on real gVisor pods: stopped means stopped, and memory is kept."""

from __future__ import annotations

import time

from tests.support import manifests
from tests.support.kube import Kube, until

# Counts in memory alone, under a name that it makes up at its start, and answers on a port of its own.
COUNTER = """
import http.server, os, secrets, threading, time
count, name = 0, secrets.token_hex(8)
def run():
    global count
    while True:
        count += 1
        open("/workspace/new", "w").write(f"{name} {count}")
        os.rename("/workspace/new", "/workspace/count")
        time.sleep(0.02)
threading.Thread(target=run, daemon=True).start()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(count).encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 8000), Answer).serve_forever()
"""
HEALTH = "import urllib.request as r; r.urlopen('http://127.0.0.1:8000', timeout=1).read()"


def want(kube: Kube, name: str, state: str) -> None:
    kube.patch("sandbox", name, {"spec": {"desiredState": state}})


def counted(kube: Kube, pod: str) -> tuple[str, int]:
    """The name of the one who counts, and how far it has come."""
    name, count = kube.kubectl("exec", pod, "-c", "sandbox", "--", "cat", "/workspace/count").split()
    return name, int(count)


def test_a_paused_sandbox_stands_still_and_goes_on_where_it_was(kube: Kube) -> None:
    template = manifests.template(command=["python3", "-c", COUNTER])
    health = {"command": ["python3", "-c", HEALTH], "periodSeconds": 2, "timeoutSeconds": 5}
    kube.apply(manifests.pool("counter", 1, template, warm={"probe": health}))
    kube.wait_for("sandboxpool", "counter", "Full", timeout=90)
    kube.create(manifests.sandbox("s", "counter"))
    before = kube.wait_for("sandbox", "s", "Ready")
    pod = before["podName"]
    name, first = counted(kube, pod)
    until("it counts", lambda: counted(kube, pod)[1] > first)

    want(kube, "s", "Paused")
    until("paused", lambda: kube.status("sandbox", "s").get("phase") == "Paused", 30)
    told = kube.condition("sandbox", "s", "Reconciling")
    assert told is not None
    assert (told["status"], told["reason"]) == ("False", "Paused")
    assert kube.condition("sandbox", "s", "Ready") is None, "it is as it was asked to be"
    stood = counted(kube, pod)
    # Its probe gets no answer now; that neither kills it nor changes what it is.
    until("the probe has failed", lambda: kube.get("pod", pod)["status"]["containerStatuses"][0]["ready"]  # type: ignore[index]
          is False, 30)  # fmt: skip
    assert counted(kube, pod) == stood, "it went on"
    assert kube.status("sandbox", "s")["phase"] == "Paused"
    assert kube.get("pod", pod)["status"]["containerStatuses"][0]["restartCount"] == 0  # type: ignore[index]

    want(kube, "s", "Running")
    after = kube.wait_for("sandbox", "s", "Ready", timeout=30)
    assert after["phase"] == "Ready"
    assert (after["podUID"], after["readyAt"]) == (before["podUID"], before["readyAt"])
    until("it counts on", lambda: counted(kube, pod) != stood)
    after_it = counted(kube, pod)
    assert after_it[0] == name, "it was started anew"
    assert after_it[1] > stood[1], "its memory was lost"
    kube.delete("sandbox", "s")


def test_a_paused_sandbox_is_deleted_in_time(kube: Kube) -> None:
    kube.create(manifests.sandbox("s", template=manifests.template()))
    kube.wait_for("sandbox", "s", "Ready")
    want(kube, "s", "Paused")
    until("paused", lambda: kube.status("sandbox", "s").get("phase") == "Paused", 30)
    started = time.monotonic()
    kube.delete("sandbox", "s")
    assert time.monotonic() - started < 30


def test_one_that_is_asked_for_paused_gets_its_pod_first(kube: Kube) -> None:
    kube.create(manifests.sandbox("s", template=manifests.template(), desiredState="Paused"))
    until("paused", lambda: kube.status("sandbox", "s").get("phase") == "Paused", 60)
    assert kube.status("sandbox", "s")["readyAt"]
    want(kube, "s", "Running")
    kube.wait_for("sandbox", "s", "Ready", timeout=30)
    kube.delete("sandbox", "s")
