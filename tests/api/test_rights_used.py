"""A release that serves some namespaces, with Roles alone: each feature works, no right is missing and none idle.

What the operator asks for is taken from the API server's audit log, over one scenario that uses every feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sandyard.api import names
from tests.api.conftest import OPERATOR_USER, establish
from tests.api.lives import TEMPLATE, claim, patch, pool
from tests.support import admission, chart, manifests
from tests.support.audit import Audit
from tests.support.control_plane import ControlPlane
from tests.support.kube import Kube, Refused, until, wait_for_api
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess, service_account_kubeconfig

SERVED, LEAVING, ELSEWHERE = "team", "leaving", "others"
PERSISTENT = {**TEMPLATE, "workspace": {"persistent": {"size": "1Gi"}}}
# Rights that the scenario does not provoke, and what for.
RARE = {
    ("sandyard.dev", "sandboxes", "get"): "a write of the finalizer meets a newer version",
    ("sandyard.dev", "sandboxpools", "get"): "the same",
    ("", "pods/exec", "create"): "asked of the authorizer beside the GET of a websocket, and not in the audit log",
}


@dataclass(frozen=True)
class Release:
    """The release at work.

    Attributes
    ----------
    kube
        The administrator, in the namespace that is served.
    rights
        What its Roles grant: (group, resource, verb).
    """

    kube: Kube
    operator: OperatorProcess
    audit: Audit
    kubelet: Kubelet
    rights: set[tuple[str, str, str]]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("namespaced")
    plane = ControlPlane(folder, audit={"level": "Metadata", "users": [OPERATOR_USER]})
    kubelet = Kubelet(plane.kubelets)
    try:
        kube = plane.start()
        objects = [item for item in chart.render({"namespaces": [SERVED, LEAVING]})
                   if item["kind"] not in ("Deployment", "Service", "Job", "Pod")]  # fmt: skip
        for namespace in ("sandyard-system", SERVED, LEAVING, ELSEWHERE):
            kube.make_namespace(namespace)
        establish(kube, *[item for item in objects if item["kind"] == "CustomResourceDefinition"])
        kube.apply_as_is(*[item for item in objects if item["kind"] != "CustomResourceDefinition"])
        wait_for_api(kube.within(SERVED))
        kubelet.start()
        audit = Audit(plane.audit_log, OPERATOR_USER)
        operator = OperatorProcess(
            service_account_kubeconfig(kube, folder / "operator"), folder / "operator.log",
            SANDYARD_WATCH_NAMESPACES=f"{SERVED},{LEAVING}", SANDYARD_LEADER_ELECTION="true",
        )  # fmt: skip
        operator.start()
        rights = {
            (group, resource.partition("=")[0], verb)
            for role in chart.selected(objects, "Role")
            if role["metadata"]["name"] in ("sandyard", "sandyard-lease", "sandyard-api-servers")
            for group, resource, verb in chart.rules(role)
        }
        yield Release(kube.within(SERVED), operator, audit, kubelet, rights)
        assert operator.stop() == 0
    finally:
        kubelet.stop()
        plane.stop()


def asked(release: Release) -> tuple[set[tuple[str, str, str]], list[str]]:
    """What the operator has asked for, and what of it was denied for want of a right."""
    used, denied = set(), []
    for event in release.audit.events():
        target = event.get("objectRef") or {}
        if event["user"]["username"] != OPERATOR_USER or not target.get("resource"):
            continue
        resource = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
        right = (target.get("apiGroup", ""), resource, event["verb"])
        used.add(right)
        if event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid":
            denied.append(f"{right} {event['requestURI']}")
    return used, denied


def test_every_feature_works_with_the_rights_of_one_namespace_and_uses_them_all(release: Release) -> None:
    kube = release.kube
    pool(kube, 1, template=PERSISTENT, allowedEgress=["None", "DNS"])
    claim(kube, "keeps")
    until("adopted", lambda: kube.status("sandbox", "keeps").get("workspaceClaim"))
    # Its own network, while it runs; a policy of ours that somebody has changed.
    patch(kube, "sandbox", "keeps", {"network": {"egress": "DNS"}})
    until("switched", lambda: kube.list("pods", f"{names.LABEL_EGRESS}=DNS"))
    kube.as_user(OPERATOR_USER).patch("networkpolicy", "sandyard-dns", {"spec": {"egress": None}})
    until("it is put right", lambda: "egress" in (kube.get("networkpolicy", "sandyard-dns") or {"spec": {}})["spec"])
    # Rest, and back; pausing has no kubelet to talk to here.
    patch(kube, "sandbox", "keeps", {"desiredState": "Suspended"})
    until("suspended", lambda: kube.status("sandbox", "keeps").get("phase") == "Suspended")
    patch(kube, "sandbox", "keeps", {"desiredState": "Running"})
    kube.wait_for("sandbox", "keeps", "Ready")
    patch(kube, "sandbox", "keeps", {"desiredState": "Paused"})
    kube.wait_reason("sandbox", "keeps", "Ready", ["PauseFailed", "NotPaused"], 60)
    # One ends by its idle time, which asks the metrics API first; one loses its pod.
    kube.create(manifests.sandbox("idle", template=TEMPLATE, lifetime={"idleSeconds": 5}))
    kube.create(manifests.sandbox("loses", template=TEMPLATE))
    pod = kube.wait_for("sandbox", "loses", "Ready")["podName"]
    until("it has expired", lambda: kube.get("sandbox", "idle") is None)
    kube.delete("pod", pod, force=True)
    kube.wait_reason("sandbox", "loses", "Ready", ["PodLost"], 60)
    # What is asked for by hand goes, and everything with it.
    kube.delete("sandboxes,sandboxpools", "--all")
    until("nothing is left", lambda: not kube.list("pods") and not kube.list("persistentvolumeclaims"))
    until("its policies are gone", lambda: not kube.list("networkpolicies"), 90)
    until("the sweep has looked", lambda: ("", "persistentvolumeclaims", "list") in asked(release)[0], 90)
    used, denied = asked(release)
    assert denied == []
    assert release.rights - used - RARE.keys() == set(), "granted and not used"
    assert used <= release.rights, "used and not granted"


def test_who_serves_one_namespace_sees_no_other(release: Release) -> None:
    elsewhere = release.kube.within(ELSEWHERE)
    elsewhere.create(manifests.sandbox("unserved", template=TEMPLATE))
    for kind in ("pods", "sandboxes", "persistentvolumeclaims", "networkpolicies"):
        for verb in ("get", "list", "watch", "create", "patch", "delete"):
            assert not elsewhere.may(OPERATOR_USER, verb, kind), f"{verb} {kind}"
    claim_ = admission.claim("other", {"app": "x"})
    with pytest.raises(Refused):
        elsewhere.as_user(OPERATOR_USER).create(claim_, dry_run=True)
    assert "observedGeneration" not in elsewhere.status("sandbox", "unserved") or (
        elsewhere.status("sandbox", "unserved")["observedGeneration"] == -1
    )


def test_a_namespace_whose_rights_go_costs_no_other_anything(release: Release) -> None:
    """So it is while a namespace is deleted: the RoleBinding goes first."""
    kube, leaving, operator = release.kube, release.kube.within(LEAVING), release.operator
    pool(kube, 1)
    pool(leaving, 1)
    there = claim(leaving, "there")
    binding = leaving.get("rolebinding", "sandyard")
    assert binding is not None
    leaving.delete("rolebinding", "sandyard")
    until("it is refused", lambda: not leaving.may(OPERATOR_USER, "list", "pods"))
    claim(kube, "one")
    # Another one takes the place of the one that was claimed.
    until("it is full again", lambda: kube.list("pods", f"{names.LABEL_STATE}=warm"))
    (stray,) = kube.list("pods", f"{names.LABEL_STATE}=warm")
    operator.stop()
    kube.as_user(OPERATOR_USER).patch("sandboxpool", "python", {"metadata": {"finalizers": None}})
    kube.delete("sandboxpool", "python")
    operator.start()
    until("the sweep goes on", lambda: kube.get("pod", stray["metadata"]["name"]) is None, 90)
    pool(kube, 1)
    claim(kube, "two")
    assert "Traceback" not in operator.log
    # Nothing was decided meanwhile where nothing could be seen; and it is served again.
    kept = leaving.get("pod", there["podName"])
    assert kept is not None
    assert "deletionTimestamp" not in kept["metadata"]
    leaving.create({key: binding[key] for key in ("apiVersion", "kind", "roleRef", "subjects")}
                   | {"metadata": {"name": "sandyard", "namespace": LEAVING}})  # fmt: skip
    claim(leaving, "again")
    assert leaving.status("sandbox", "there")["phase"] == "Ready"
    assert len(leaving.list("pods")) <= 3
    for each in (kube, leaving):
        each.delete("sandboxes,sandboxpools", "--all")
        until("nothing is left", lambda each=each: not each.list("pods"))
