"""recycle: Restart on real gVisor pods: what one Sandbox leaves, the next one does not find."""

from __future__ import annotations

from typing import Any

from sandyard.api import names
from tests.support import manifests
from tests.support.kube import Kube, until

STRICT = {"recycle": "Restart", "maxSandboxes": 1, "whenEmpty": {"action": "Wait", "waitSeconds": 120}}
# Files of every kind in every place, IPC objects, an environment; and a message on process 1, which stays.
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
"""
# What shows as dead and beats; what is stopped; what listens; and what other processes can be given.
PROCESSES = """
import ctypes, os, signal, socket, subprocess, sys, threading, time
def fork():
    # Who holds the exec's output would hold the exec.
    pid = os.fork()
    if pid == 0:
        # Alone in its session: an orphaned group with a stopped member is hung up.
        os.setsid()
        for number in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    return pid
def beat():
    while True:
        open("/workspace/beat", "w").write(str(time.time()))
        time.sleep(0.05)
if fork() == 0:
    threading.Thread(target=beat).start()
    ctypes.CDLL(None).syscall(60, 0)
if fork() == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
if fork() == 0:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(chr(0) + "left")
    listener.listen()
    time.sleep(100000)
os.chdir("/workspace")
for _ in range(200):
    os.mkdir("x" * 50)
    os.chdir("x" * 50)
for name in filter(str.isdigit, os.listdir("/proc")):
    for act in (lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 7), lambda pid: os.sched_setaffinity(pid, {0}),
                lambda pid: open(f"/proc/{pid}/oom_score_adj", "w").write("555")):
        try:
            act(int(name))
        except OSError:
            pass
"""
# What the next one looks at; the numbers of IPC objects come from the kernel, not from a list.
LOOK = """
import ctypes, os, socket
found = []
for place in ("/workspace", "/tmp", "/var/tmp", "/dev/shm"):
    found += [place + "/" + name for name in os.listdir(place)]
    found += [place + ": " + name for name in os.listxattr(place)]
for name in filter(str.isdigit, os.listdir("/proc")):
    pid = int(name)
    if os.stat(f"/proc/{name}").st_uid == os.getuid() and pid != os.getpid():
        found.append(open(f"/proc/{name}/cmdline").read().split(chr(0))[0])
    own = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)]
    if [os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid)] != own:
        found.append(f"priority or CPUs of {name}")
    if open(f"/proc/{name}/oom_score_adj").read() == "555\\n":
        found.append(f"oom_score_adj of {name}")
library, answer = ctypes.CDLL(None), (ctypes.c_int * 64)()
for call, arguments, index in (("shmctl", (0, 14), 2), ("semctl", (0, 0, 19), 7), ("msgctl", (0, 12), 0)):
    getattr(library, call)(*arguments, answer)
    found += [call] * bool(answer[index])
found += [name for name in os.environ if name == "SECRET"]
try:
    socket.socket(socket.AF_UNIX).connect(chr(0) + "left")
    found.append("a listener")
except OSError:
    pass
print(sorted(found))
"""
# What outlives a restart under gVisor, and what is then said of the pod: nobody may remove a queue or raise a limit,
# and nothing frees a socket that is on its way in itself, or a mount namespace that holds itself.
LASTING = {
    "import ctypes; assert ctypes.CDLL(None).syscall(240, b'left', 0o102, 0o600, None) >= 0": "POSIX message queues",
    "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (77, 777))": "the limits of resources",
    """
import array, socket
listener = socket.create_server(("0.0.0.0", 7777))
one, other = socket.socketpair()
numbers = array.array("i", [one.fileno(), other.fileno(), listener.fileno()])
one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
""": "sockets",
    """
import ctypes
library = ctypes.CDLL(None)
assert library.unshare(0x10000000 | 0x20000) == 0
assert library.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0
open("/tmp/large", "wb").write(bytes(10_000_000))
open("/tmp/self", "w").close()
assert library.mount(b"/proc/self/ns/mnt", b"/tmp/self", None, 4096, None) == 0
""": "KiB of memory",
}


def run(kube: Kube, pod: str, *command: str) -> str:
    return kube.kubectl("exec", pod, "-c", names.CONTAINER, "--", *command)


def modes(kube: Kube, pod: str) -> str:
    return run(kube, pod, "stat", "-c", "%n %A %u:%g", "/workspace", "/tmp", "/var/tmp", "/dev/shm")


def claim(kube: Kube, name: str) -> dict[str, Any]:
    kube.create(manifests.sandbox(name, "python"))
    return kube.wait_for("sandbox", name, "Ready", timeout=120)


def make_pool(kube: Kube, replicas: int = 1, **spec: Any) -> None:
    restart = {"timeoutSeconds": 120, "maxUses": 9, **spec.pop("restart", {})}
    bounds = {**STRICT, "maxSandboxes": replicas, "restart": restart, **spec}
    kube.apply(manifests.pool("python", replicas, manifests.template(), **bounds))
    kube.wait_for("sandboxpool", "python", "Full", timeout=120)


def told(kube: Kube, reason: str) -> str:
    """The messages of the pool's Events with that reason."""
    return " ".join(event["message"] for event in kube.list("events") if event["reason"] == reason)


def test_nothing_of_one_sandbox_is_left_for_the_next_and_what_cannot_be_removed_costs_the_pod(kube: Kube) -> None:
    make_pool(kube, replicas=1 + len(LASTING))
    first = claim(kube, "first")
    pod = first["podName"]
    others = {f"other-{number}": act for number, act in enumerate(LASTING)}
    kube.create(*(manifests.sandbox(name, "python") for name in others))
    spent = {kube.wait_for("sandbox", name, "Ready")["podName"]: act for name, act in others.items()}
    before = modes(kube, pod)
    run(kube, pod, "bash", "-c", LITTER)
    run(kube, pod, "python3", "-c", PROCESSES)
    kube.delete("sandbox", "first")
    # There is room for no further pod: what it gets is the one before's.
    second = claim(kube, "second")
    assert second["podUID"] == first["podUID"], told(kube, "RestartFailed")
    assert (second["start"], second["podIP"]) == ("Warm", first["podIP"])
    assert run(kube, pod, "python3", "-c", LOOK).strip() == "['sleep']"
    assert modes(kube, pod) == before
    assert kube.status("sandboxpool", "python")["reused"] == 1
    for used, act in spent.items():
        run(kube, used, "python3", "-c", act)
    # They are restarted beside each other.
    for name in others:
        kube.delete("sandbox", name, wait=False)
    until("none of them is left", lambda: not spent.keys() & {item["metadata"]["name"] for item in kube.list("pods")},
          120, interval=0.5)  # fmt: skip
    assert [reason for reason in LASTING.values() if reason not in told(kube, "RestartFailed")] == []
    assert kube.status("sandboxpool", "python")["reused"] == 1
    kube.delete("sandbox", "second")


def test_a_tenant_has_no_way_to_restart_its_pod_and_who_is_restarted_unasked_fails(kube: Kube) -> None:
    make_pool(kube)
    first = claim(kube, "first")
    pod = first["podName"]
    ours = "[p for p in os.listdir('/proc') if p.isdigit() and os.stat('/proc/' + p).st_uid == 64042]"
    attempt = f"""
import os, signal
for pid in {ours}:
    for number in range(1, 65):
        try:
            os.kill(int(pid), number)
            print("signalled", pid, number)
        except PermissionError:
            pass
"""
    assert run(kube, pod, "python3", "-c", attempt) == ""
    # With an administrator's hand, the container ends in its own way.
    kube.kubectl("exec", pod, "-c", names.RESTART_CONTAINER, "--", "/bin/sh", "-c", "kill -USR1 -1")
    until("it has failed", lambda: kube.status("sandbox", "first").get("phase") == "Failed", 60)
    ready = next(item for item in kube.status("sandbox", "first")["conditions"] if item["type"] == "Ready")
    assert ready["reason"] == "UnexpectedRestart"
    kube.delete("sandbox", "first")
    second = claim(kube, "second")
    assert second["podUID"] != first["podUID"]
    kube.delete("sandbox", "second")


def test_without_restart_no_pod_is_ever_used_twice(kube: Kube) -> None:
    make_pool(kube, recycle="Delete")
    first = claim(kube, "first")
    kube.delete("sandbox", "first")
    assert claim(kube, "second")["podUID"] != first["podUID"]
    kube.delete("sandbox", "second")
