"""An operator of this tree takes over what the one of an earlier release has left, with pods of both alive.

``tests/api/releases`` has a record for each release (`tests.support.released`). That of this tree is made with
``SANDYARD_RECORD=VERSION hack/test tests/api/test_upgrade.py``, once it is released.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.api.conftest import establish, render
from tests.api.lives import TEMPLATE, claim, end_pod, patch, pool
from tests.support import manifests, released
from tests.support.control_plane import ControlPlane
from tests.support.kube import Kube, holds, until, wait_for_api
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess, service_account_kubeconfig

PERSISTENT = {**TEMPLATE, "workspace": {"persistent": {"size": "1Gi"}}}
ALIVE = ("ready", "open", "own", "kept")


def situations(kube: Kube) -> None:
    """One Sandbox for each thing that an operator may find."""
    pool(kube, 3, allowedEgress=["None", "DNS"], maxSandboxes=20)
    kube.apply(manifests.pool("kept", 1, PERSISTENT))
    kube.wait_for("sandboxpool", "kept", "Full")
    claim(kube, "ready")
    claim(kube, "open", network={"egress": "DNS"})
    end_pod(kube, claim(kube, "done")["podName"], 0)
    end_pod(kube, claim(kube, "failed")["podName"], 3)
    for name, phase in (("done", "Succeeded"), ("failed", "Failed")):
        is_in(kube, name, phase)
    kube.create(manifests.sandbox("own", template={**TEMPLATE, "env": [{"name": "A", "value": "1"}]}))
    for name in ("kept", "suspended"):
        kube.create(manifests.sandbox(name, "kept"))
    for name in ("own", "kept", "suspended"):
        kube.wait_for("sandbox", name, "Ready")
    patch(kube, "sandbox", "suspended", {"desiredState": "Suspended"})
    is_in(kube, "suspended", "Suspended")
    kube.create(manifests.sandbox("waiting", "later"))
    until("told", lambda: kube.status("sandbox", "waiting").get("conditions"))
    for name in ("python", "kept"):
        kube.wait_for("sandboxpool", name, "Full")


def is_in(kube: Kube, name: str, phase: str) -> None:
    until(phase, lambda: kube.status("sandbox", name).get("phase") == phase)


def pods(kube: Kube) -> dict[str, tuple[str, str]]:
    """Name and UID of the pod of each Sandbox that has one alive."""
    uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in kube.list("pods")}
    named = {name: str(kube.status("sandbox", name).get("podName")) for name in ALIVE}
    return {name: (pod, uids[pod]) for name, pod in named.items() if pod in uids}


def workspaces(kube: Kube) -> dict[str, str]:
    """UID of the persistent workspace of each Sandbox that has one; that of a warm pod goes with it."""
    uids = {item["metadata"]["name"]: item["metadata"]["uid"] for item in kube.list("persistentvolumeclaims")}
    return {name: uids[kube.status("sandbox", name)["workspaceClaim"]] for name in ("kept", "suspended")}


def egress(kube: Kube, pod: str) -> str:
    found = kube.get("pod", pod)
    assert found is not None
    return str(found["metadata"]["labels"][names.LABEL_EGRESS])


def definitions(kube: Kube) -> list[dict[str, Any]]:
    return [item for item in render(kube) if item["kind"] == "CustomResourceDefinition"]


def test_what_this_operator_leaves_can_be_recorded(kube: Kube, admin: Kube, operator: OperatorProcess) -> None:
    situations(kube)
    found = released.record(kube, definitions(admin))
    kinds = [item["kind"] for item in found["objects"]]
    assert (kinds.count("Sandbox"), kinds.count("SandboxPool")) == (8, 2)
    assert set(kinds) == released.KINDS.keys()
    if version := os.environ.get("SANDYARD_RECORD"):
        released.keep(version, found)


@pytest.fixture(scope="module", params=sorted(path.stem for path in released.RECORDS.glob("*.json")))
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """The namespace that a release has left, with this tree's chart over it; no operator runs."""
    plane = ControlPlane(tmp_path_factory.mktemp("upgraded"))
    try:
        admin = plane.start()
        recorded = json.loads((released.RECORDS / f"{request.param}.json").read_text())
        kube = released.restore(plane, admin, recorded)
        admin.make_namespace("sandyard-system")
        establish(admin, *definitions(admin))
        others = ("Deployment", "Service", "CustomResourceDefinition")
        admin.apply_as_is(*[item for item in render(admin) if item["kind"] not in others])
        wait_for_api(admin)
        kubelet = Kubelet(plane.kubelets)
        kubelet.start()
        yield kube
        kubelet.stop()
    finally:
        plane.stop()


def test_an_upgrade_harms_no_sandbox_and_leaves_none_behind(upgraded: Kube, tmp_path: pathlib.Path) -> None:
    kube = upgraded
    before = pods(kube)
    assert before.keys() == set(ALIVE)
    kept = workspaces(kube)
    operator = OperatorProcess(
        service_account_kubeconfig(kube, tmp_path / "kubeconfig"), tmp_path / "operator.log",
        SANDYARD_WATCH_NAMESPACES=kube.namespace,
    )  # fmt: skip
    operator.start()
    try:
        # Warm pods of the old template are replaced beside the claims of the new.
        claim(kube, "fresh")
        for name in ("python", "kept"):
            kube.wait_for("sandboxpool", name, "Full")
        holds("nobody is harmed", lambda: pods(kube) == before, 3)
        assert [kube.status("sandbox", name)["phase"] for name in ALIVE] == ["Ready"] * len(ALIVE)
        assert [kube.status("sandbox", name)["phase"] for name in ("done", "failed")] == ["Succeeded", "Failed"]
        assert workspaces(kube) == kept

        patch(kube, "sandbox", "suspended", {"desiredState": "Running"})
        is_in(kube, "suspended", "Ready")
        patch(kube, "sandbox", "open", {"network": {"egress": "None"}})
        until("closed", lambda: egress(kube, before["open"][0]) == names.EGRESS_NONE)
        kube.apply(manifests.pool("later", 1, TEMPLATE))
        kube.wait_for("sandbox", "waiting", "Ready")

        kube.delete("sandboxes,sandboxpools", "--all")
        until("nothing is left", lambda: not [*kube.list("pods"), *kube.list("networkpolicies")])
        # The controller of volumes does not run here; whoever owned a workspace has asked for its end.
        assert kube.list("sandboxes") == kube.list("sandboxpools") == []
        until("workspaces too", lambda: not kube.list("persistentvolumeclaims"))
    finally:
        status = operator.stop()
    assert status == 0
    assert "Traceback" not in operator.log, operator.log[-3000:]
