"""Cleaning from inside, in namespaces of the test's own; and what is believed of its answer."""

from __future__ import annotations

import inspect
import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from sandyard import scrub
from sandyard.api import names
from sandyard.api.pool import PoolSpec
from sandyard.engine.loops.clock import Clock
from sandyard.engine.sandboxes.reuse import Reuse
from sandyard.engine.state import records
from sandyard.engine.state.store import Store
from sandyard.pool import recycle
from tests.unit import objects

STARTED = "2026-01-01T00:00:05Z"
RUNNING = [{"name": names.CONTAINER, "ready": True, "state": {"running": {"startedAt": STARTED}}}]
CLAIMED = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: "s"}
READY = {"readyAt": "2026-01-01T00:01:00Z"}


def within(tmp_path: pathlib.Path, act: str, then: str) -> str:
    """Run *act*, then parts of the scrub, in a namespace of processes, mounts and IPC of its own."""
    code = tmp_path / "code.py"
    code.write_text(inspect.getsource(scrub).partition('if __name__ == "__main__":')[0] + "\n" + then)
    # Process 1 is the one who drives, then comes the keeper: as in a sandbox.
    script = f"sleep 100000 & keeper=$!; sleep 0.05; {act}\n{sys.executable} -I {code}; kill $keeper"
    done = subprocess.run(
        ["unshare", "--pid", "--ipc", "--mount", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script],
        text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_process_but_the_keeper_is_ended(tmp_path: pathlib.Path) -> None:
    act = (
        "(setsid bash -c 'trap \"\" TERM INT; while :; do sleep 0.01; done' &) ; (while :; do (sleep 0.001 &); done) & "
        "(sleep 1000 & exec sleep 1000) & "
    )
    then = "print(end_processes(), len(processes()))"
    assert within(tmp_path, act, then).strip() == "[] 1"


def test_ipc_objects_are_removed_and_counted_by_the_kernel(tmp_path: pathlib.Path) -> None:
    act = "for n in 1 2 3; do ipcmk -M 8192 -S 3 -Q >/dev/null; done; "
    then = "import subprocess\nprint(clean_ipc(), subprocess.run(['ipcs'], capture_output=True).stdout.count(b'0x'))"
    assert within(tmp_path, act, then).strip() == "[] 0"


def test_volumes_are_emptied_whatever_lies_in_them(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "volume"
    place.mkdir()
    (place / "kept-outside").symlink_to("/etc")
    for name in ("a b", ".x", "..y", "-rf", "new\nline", "\udcff"):
        (place / name).mkdir()
        (place / name / "file").touch()
    (place / "a b").chmod(0)
    assert scrub.empty(str(place).encode()) == []
    assert list(place.iterdir()) == []
    assert pathlib.Path("/etc/passwd").exists()


def test_what_cannot_be_removed_is_reported(tmp_path: pathlib.Path) -> None:
    act = f"mkdir {tmp_path}/v {tmp_path}/v/busy; mount -t tmpfs none {tmp_path}/v/busy; "
    then = f"print(empty(b'{tmp_path}/v'))"
    assert "busy" in within(tmp_path, act, then)


def test_what_it_shows_is_harmless() -> None:
    assert scrub.show(b"/x\n\x1b[2J\xff") == "/x\\n\\x1b[2J\\udcff"
    assert len(scrub.show(b"x" * 5000)) == 200


def test_the_script_is_this_file_and_the_start_of_its_container() -> None:
    pod = objects.pod(labels=CLAIMED, containers=RUNNING)
    text = recycle.script(pod).decode()
    assert text.rstrip().endswith("sys.exit(main(1767225605.0))")
    compile(text, "script", "exec")


def answer(**fields: Any) -> bytes:
    return (scrub.MARK + json.dumps({"version": 1, "left": [], "seconds": 0.1, **fields}) + "\n").encode()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, answer()), (1, answer()), (0, b""), (0, b"sandyard: {"), (0, b"sandyard: {}\n"), (0, b"clean\n"),
        (3, answer(left=["/tmp/x"])), (0, answer(left=["/tmp/x"])), (0, answer() + b"and more\n"),
        (0, answer(left=5)),
    ],
)  # fmt: skip
def test_only_a_plain_answer_is_believed(code: int | None, said: bytes) -> None:
    report = recycle.read(code, said, "")
    assert not report.clean
    assert report.why
    assert recycle.read(0, answer(), "").clean


def spec(**fields: Any) -> PoolSpec:
    content = {"recycle": "Scrub", "scrub": {"maxUses": 3}, "template": {"image": "a"}, **fields}
    return PoolSpec.model_validate(content)


@pytest.mark.parametrize(
    ("pod", "pool", "status", "told"),
    [
        ({}, {}, READY, ""),
        ({}, {"recycle": "Delete"}, READY, "does not recycle"),
        ({"labels": {**CLAIMED, names.LABEL_STATE: names.STATE_COLD}}, {}, READY, "for its Sandbox alone"),
        ({"labels": {**CLAIMED, names.LABEL_TEMPLATE_HASH: "old"}}, {}, READY, "template has changed"),
        ({"labels": {**CLAIMED, names.LABEL_EGRESS: "Internet"}}, {}, READY, "network"),
        ({"labels": {**CLAIMED, names.LABEL_ALLOW: "x"}}, {}, READY, "network"),
        ({}, {"scrub": {"maxUses": 1}}, READY, "1 times"),
        ({}, {}, {}, "not ready"),
        ({"ready": False}, {}, READY, "not ready"),
        ({"deletion": "2026-01-01T00:02:00Z"}, {}, READY, "not ready"),
        ({"containers": [{**RUNNING[0], "restartCount": 1}]}, {}, READY, "main process"),
        ({"containers": [{"name": "sandbox", "state": {"terminated": {"exitCode": 0}}}]}, {}, READY, "main process"),
    ],
)  # fmt: skip
def test_what_is_not_as_the_pool_has_it_is_not_used_again(
    pod: dict[str, Any], pool: dict[str, Any], status: dict[str, Any], told: str
) -> None:
    made = objects.pod(**{"labels": CLAIMED, "containers": RUNNING, **pod})
    why = recycle.obstacle(made, "readyAt" in status, spec(**pool), "hash")
    assert told in why
    assert bool(told) is bool(why)


@pytest.mark.parametrize(
    ("sandbox", "pool", "enabled", "wanted"),
    [
        ({}, {}, True, True),
        ({}, {}, False, False),
        ({"network": {"egress": "None"}}, {}, True, False),
        ({}, {"paused": True}, True, False),
        ({}, {"recycle": "Delete"}, True, False),
    ],
)
def test_only_an_open_pool_gets_its_pods_back(
    sandbox: dict[str, Any], pool: dict[str, Any], enabled: bool, wanted: bool
) -> None:
    times = {"namespace": "ns", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    body = {"metadata": {"name": "python", "uid": "pool", **times},
            "spec": {"recycle": "Scrub", "scrub": {"maxUses": 3}, "template": {"image": "a"}, **pool}}  # fmt: skip
    record = records.pool(body, objects.PROBE)
    assert isinstance(record, records.PoolRecord)
    store = Store(Clock())
    store.put_pool(record)
    pod = objects.pod(labels={**CLAIMED, names.LABEL_TEMPLATE_HASH: record.template_hash}, containers=RUNNING)
    store.pod_changed(None, pod)
    unused: Any = None
    reuse = Reuse(store, unused, unused, unused, unused, enabled=enabled)
    whose = records.sandbox({"metadata": {"name": "s", "uid": "s", **times}, "status": READY,
                             "spec": {"poolRef": {"name": "python"}, **sandbox}})  # fmt: skip
    assert (reuse.wanted(whose, pod) is not None) is wanted
