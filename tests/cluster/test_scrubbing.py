"""recycle: Scrub on real gVisor pods: what one Sandbox leaves, the next one does not find."""

from __future__ import annotations

from typing import Any

from tests.support import manifests
from tests.support.kube import Kube
from tests.support.release import Installed

STRICT = {"recycle": "Scrub", "maxSandboxes": 1, "whenEmpty": {"action": "Wait", "waitSeconds": 120}}
# Rows A24-A31: files of every kind in every place, processes, IPC objects, an environment.
LITTER = r"""
cd /workspace
touch .x ..y 'a b' -- -rf "$(printf 'new\nline')"; mkdir -p deep/er .hidden 'sp ace/..'; touch deep/er/z .hidden/q
ln -s /etc link; mkfifo pipe; mkdir locked; touch locked/in; chmod 0 locked
mkdir -p .cache/pip .npm .cargo/registry go/pkg .ipython __pycache__; touch __pycache__/a.pyc .bash_history \
  .python_history .node_repl_history
touch /tmp/t /tmp/.t /var/tmp/v /var/tmp/.v; mkdir /var/tmp/deep; echo s > /dev/shm/s; echo x > /dev/termination-log
ipcmk -M 4096 -S 2 -Q >/dev/null
export SECRET=1
(setsid sleep 100000 >/dev/null 2>&1 &)
(setsid sh -c 'trap "" TERM INT HUP; while :; do sleep 100; done' >/dev/null 2>&1 &)
(setsid python3 -c "import time; time.sleep(100000)" >/dev/null 2>&1 &)
"""
# What the next one looks at; the numbers of IPC objects come from the kernel, not from a list.
LOOK = """
import ctypes, os
found = []
for place in ("/workspace", "/tmp", "/var/tmp", "/dev/shm"):
    found += [place + "/" + name for name in os.listdir(place)]
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) not in (1, os.getpid()):
        found.append(open(f"/proc/{name}/cmdline").read().split(chr(0))[0])
library, answer = ctypes.CDLL(None), (ctypes.c_int * 64)()
for call, arguments, index in (("shmctl", (0, 14), 2), ("semctl", (0, 0, 19), 7), ("msgctl", (0, 12), 0)):
    getattr(library, call)(*arguments, answer)
    found += [call] * bool(answer[index])
found += [name for name in os.environ if name == "SECRET"]
print(sorted(found))
"""


# Deeper than a path may be long, and than Python goes.
DEEP = """
import os
os.chdir("/workspace")
for _ in range(1500):
    os.mkdir("x" * 50)
    os.chdir("x" * 50)
"""


def run(kube: Kube, pod: str, *command: str) -> str:
    return kube.kubectl("exec", pod, "-c", "sandbox", "--", *command)


def modes(kube: Kube, pod: str) -> str:
    return run(kube, pod, "stat", "-c", "%n %A %u:%g", "/workspace", "/tmp", "/var/tmp", "/dev/shm")


def claim(kube: Kube, name: str) -> dict[str, Any]:
    kube.create(manifests.sandbox(name, "python"))
    return kube.wait_for("sandbox", name, "Ready", timeout=120)


def make_pool(kube: Kube, **spec: Any) -> None:
    scrub = {"timeoutSeconds": 30, "maxUses": 2, **spec.pop("scrub", {})}
    template = spec.pop("template", manifests.template())
    kube.apply(manifests.pool("python", 1, template, **{**STRICT, "scrub": scrub, **spec}))
    kube.wait_for("sandboxpool", "python", "Ready", timeout=90)


def told(kube: Kube, reason: str) -> str:
    """The messages of the pool's Events with that reason."""
    return " ".join(event["message"] for event in kube.list("events") if event["reason"] == reason)


def test_nothing_of_one_sandbox_is_left_for_the_next(kube: Kube) -> None:
    make_pool(kube)
    first = claim(kube, "first")
    pod = first["podName"]
    before = modes(kube, pod)
    run(kube, pod, "bash", "-c", LITTER)
    kube.delete("sandbox", "first")
    second = claim(kube, "second")
    assert second["podUID"] == first["podUID"], told(kube, "ScrubFailed")
    assert second["start"] == "Warm"
    assert run(kube, pod, "python3", "-c", LOOK).strip() == "['sleep']"
    assert modes(kube, pod) == before
    assert kube.status("sandboxpool", "python")["scrubbed"] == 1
    # maxUses: the third is a fresh one.
    kube.delete("sandbox", "second")
    assert claim(kube, "third")["podUID"] != first["podUID"]
    kube.delete("sandbox", "third")


def test_a_pod_in_which_something_is_left_is_never_offered_again(kube: Kube) -> None:
    make_pool(kube, scrub={"maxUses": 10})
    first = claim(kube, "first")
    run(kube, first["podName"], "python3", "-c", DEEP)
    kube.delete("sandbox", "first")
    second = claim(kube, "second")
    assert second["podUID"] != first["podUID"]
    assert "left behind" in told(kube, "ScrubFailed")
    kube.delete("sandbox", "second")


def test_cleaning_that_takes_too_long_means_delete(kube: Kube, installed: Installed) -> None:
    make_pool(kube, scrub={"maxUses": 10, "timeoutSeconds": 1})
    first = claim(kube, "first")
    run(kube, first["podName"], "python3", "-c", "for n in range(20000): open(f'/workspace/{n}', 'w').close()")
    kube.delete("sandbox", "first")
    assert claim(kube, "second")["podUID"] != first["podUID"]
    assert "not finished within 1 s" in told(kube, "ScrubFailed")
    kube.delete("sandbox", "second")


def test_without_scrub_no_pod_is_ever_used_twice(kube: Kube) -> None:
    make_pool(kube, recycle="Delete")
    first = claim(kube, "first")
    kube.delete("sandbox", "first")
    assert claim(kube, "second")["podUID"] != first["podUID"]
    kube.delete("sandbox", "second")
