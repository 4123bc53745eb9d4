"""A namespace to try admission in: users who have every right in it, and objects to change by dry runs.

What says no to them is admission.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

from sandyard.api import names
from sandyard.api.template import Template
from sandyard.podspec import pod as podspec
from tests.support import manifests
from tests.support.kube import Kube, Refused, until
from tests.support.kubelet import NODELESS

__all__ = ["CLAIMED", "COLLECTOR", "CONTROL_PLANE", "NETWORK_PLUGINS", "OPERATOR", "OUR_POLICY", "SOMEBODY",
           "STRANGERS", "VOLUMES", "WORKSPACE", "World", "built", "claim", "made_with", "policy", "waiting",
           "world"]  # fmt: skip

OPERATOR: Final = "system:serviceaccount:sandyard-system:sandyard"
SOMEBODY = "mallory"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
SCHEDULER = "system:kube-scheduler"
# It makes the volumes of pods that bring a template for them.
VOLUMES: Final = "system:serviceaccount:kube-system:ephemeral-volume-controller"
STRANGERS = [
    SOMEBODY,
    "system:serviceaccount:kube-system-too:x",
    "system:serviceaccount:sandyard-system:sandyard-drain",
    "system:serviceaccount:other:sandyard",
    "system:kubelet",
]
NETWORK_PLUGINS = ["system:serviceaccount:calico-system:node", "system:serviceaccount:openshift-ovn-kubernetes:node"]
CONTROL_PLANE = [COLLECTOR, SCHEDULER, "system:kube-controller-manager"]
PROBE = podspec.Probe(image="sandyard/operator:1", pull_policy="IfNotPresent", forbidden=("10.96.0.1:443",))
POOL = podspec.Owner("SandboxPool", "p", "11111111-1111-1111-1111-111111111111")
MERGE = "application/merge-patch+json"


class World:
    """A namespace with one object of each kind in it, and a door for each user."""

    def __init__(self, admin: Kube, namespace: str) -> None:
        self.admin = admin.within(namespace)

    def create(self, user: str, obj: dict[str, Any]) -> None:
        """Try to create *obj* as *user*; nothing is kept."""
        self.admin.as_user(user).create(obj, dry_run=True)

    def change(self, user: str, kind: str, name: str, patch: dict[str, Any], subresource: str = "") -> None:
        """Try a merge patch as *user*; nothing is kept."""
        self.admin.as_user(user).request(
            "PATCH", self.admin.path(kind, name, subresource), patch, content_type=MERGE,
            params={"dryRun": "All", "fieldValidation": "Strict"},
        )  # fmt: skip

    def delete(self, user: str, kind: str, name: str) -> None:
        """Try to delete as *user*; nothing is deleted."""
        self.admin.as_user(user).request("DELETE", self.admin.path(kind, name), params={"dryRun": "All"})


def built(*, restart: bool = False, **fields: Any) -> dict[str, Any]:
    """A pod as the operator makes it, but for its owner, whom garbage collection would miss."""
    made = podspec.build(Template.model_validate({"image": "a", **fields}), name="ours", namespace="", probe=PROBE,
                         owner=POOL, pool=POOL, restart=restart)  # fmt: skip
    del made["metadata"]["ownerReferences"]
    copied: dict[str, Any] = json.loads(json.dumps(made))
    return copied


def claim(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": labels or {}},
            "spec": spec}  # fmt: skip


def policy(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    """One that opens nothing; those of the operator select sandboxes alone."""
    ours = {"matchExpressions": [{"key": names.LABEL_STATE, "operator": "Exists"}]}
    selector = ours if labels and names.LABEL_POLICY in labels else {}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "labels": labels or {}}, "spec": {"podSelector": selector}}  # fmt: skip


WORKSPACE = {names.LABEL_SANDBOX_UID: "s1", names.LABEL_POOL_UID: "p1"}
CLAIMED = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: "s1"}
OUR_POLICY = {names.LABEL_POLICY: "sandyard-closed"}


def world(admin: Kube) -> Iterator[World]:
    """A `World` in a namespace of its own: the fixture of a file."""
    namespace = f"{NODELESS}{uuid.uuid4().hex[:8]}"
    admin.make_namespace(namespace)
    made = World(admin, namespace)
    subjects = [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
                for name in [OPERATOR, VOLUMES, *STRANGERS, *CONTROL_PLANE, *NETWORK_PLUGINS]]  # fmt: skip
    made.admin.create({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": subjects,
    })  # fmt: skip
    operator = made.admin.as_user(OPERATOR)

    def allowed() -> bool:
        try:
            made.create(OPERATOR, claim("probe", WORKSPACE))
        except Refused:
            return False
        return True

    until("the rights hold", allowed, 30)
    plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain", "labels": {"app": "x"}},
             "spec": {"containers": [{"name": "c", "image": "a"}]}}  # fmt: skip
    claimed = built()
    claimed["metadata"].update(name="claimed", labels={**claimed["metadata"]["labels"], **CLAIMED})
    operator.create(built(), claimed, claim("ours", WORKSPACE), policy("ours", OUR_POLICY))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "plain"},
               "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}  # fmt: skip
    made.admin.create(plain, claim("plain", {"app": "x"}), policy("plain", {"app": "x"}), service)
    made.admin.create(manifests.sandbox("ours", "python"), manifests.pool("ours"))
    yield made
    for kind in ("sandboxes", "sandboxpools"):
        operator.patch(kind, "ours", {"metadata": {"finalizers": None}})
    made.admin.delete("pod", "ours", "claimed", wait=False, force=True)
    made.admin.delete("namespace", namespace, wait=False)


def waiting(kube: Kube) -> None:
    """Pods of ours whose workspaces are not there, and what others have put there to wait for such."""
    copy = claim("copy")
    copy["spec"]["dataSource"] = {"kind": "PersistentVolumeClaim", "name": "copied-workspace"}
    volume = {"name": "w", "persistentVolumeClaim": {"claimName": "awaited-workspace"}}
    kube.create(claim("early-workspace"), copy, {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits"},
        "spec": {"containers": [{"name": "c", "image": "a"}], "volumes": [volume]},
    })  # fmt: skip
    # The policies know of what waits a moment later; that they refuse is for the tests to say.
    with contextlib.suppress(AssertionError):
        until("they know", lambda: not any(_taken(kube, made_with(pod)) for pod in ("awaited", "copied")), 10)
    resumed, awaited = built(), built(workspace={"persistent": {"size": "1Mi"}})
    resumed["spec"]["volumes"][0] = {"name": names.WORKSPACE_VOLUME,
                                     "persistentVolumeClaim": {"claimName": "resumed-workspace"}}  # fmt: skip
    for name, pod in {"resumed": resumed, "awaited": awaited}.items():
        pod["metadata"]["name"] = name
        kube.as_user(OPERATOR).create(pod)


def made_with(pod: str) -> dict[str, Any]:
    """The workspace that Kubernetes makes with a pod of ours."""
    made = claim(f"{pod}-workspace", {names.LABEL_POOL_UID: POOL.uid, names.LABEL_MANAGED_BY: names.MANAGED_BY})
    made["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": POOL.uid}]
    return made


def _taken(kube: Kube, workspace: dict[str, Any]) -> bool:
    """Whether the control plane could make *workspace*."""
    try:
        kube.as_user(VOLUMES).create(workspace, dry_run=True)
    except Refused:
        return False
    return True
