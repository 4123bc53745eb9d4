"""A control plane with simulated nodes, and what each of its processes takes of the processors."""

from __future__ import annotations

import json
import pathlib
from typing import Any, Final

from localcluster import components, pki, tools
from tests.support.control_plane import ControlPlane
from tests.support.kube import Kube, until

__all__ = ["GROUPS", "Plane"]

GROUPS: Final = (*tools.API, "kwok", "helm")
_STAGES: Final = pathlib.Path(components.__file__).with_name("kwok")
# kwok plays so many pods at once; with its default of four the nodes would be the slowest part.
_PARALLELISM: Final = 16
_NOTHING_LOGGED: Final = {"level": "None"}
# Nothing of the control plane may be what holds a subject back.
_NO_LIMIT: Final = ("--kube-api-qps=1000", "--kube-api-burst=2000")


class Plane(ControlPlane):
    """etcd, API server, controller manager, scheduler, and kwok with *nodes* nodes; nothing is audited."""

    groups = GROUPS
    # The later flag counts: `make profile` reads what the API server spends its time on.
    server_options = ("--profiling=true",)

    def __init__(self, folder: pathlib.Path, nodes: int = 3) -> None:
        super().__init__(folder, _NOTHING_LOGGED)
        self._nodes = nodes
        # Of those who make Sandboxes: what an administrator asks, no API server puts into a queue.
        self.users = folder / "users"

    def start(self, *, controllers: bool = True) -> Kube:
        """Start everything, and wait until the nodes are Ready."""
        kube = super().start(controllers=controllers)
        keys, port = self._serving
        pki.issue(keys, "user", "/O=users/CN=user")
        pki.kubeconfig(keys, "user", f"https://127.0.0.1:{port}", self.users)
        kube.kubectl("create", "clusterrolebinding", "users", "--clusterrole=cluster-admin", "--group=users")
        self._run("kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0",
                  *_NO_LIMIT)  # fmt: skip
        options = self._folder / "kwok.yaml"
        options.write_text(json.dumps({
            "apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration",
            "options": {"podPlayStageParallelism": _PARALLELISM, "nodePlayStageParallelism": 4,
                        "nodeLeaseParallelism": 4},
        }))  # fmt: skip
        self._run(
            "kwok", f"--kubeconfig={self.kubelets}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40", f"--config={options}", "--cidr=10.200.0.0/16", "--node-ip=192.0.2.1",
            *(f"--config={path}" for path in sorted(_STAGES.glob("*.yaml"))),
        )  # fmt: skip
        for number in range(self._nodes):
            kube.create(_node(f"node-{number}"))
        until("the nodes are Ready", lambda: all(map(_ready, kube.list("nodes"))), 60)
        for number in range(self._nodes):
            # A new node is tainted until a controller that does not run here has seen it Ready.
            kube.patch("nodes", f"node-{number}", {"spec": {"taints": None}})
        return kube


def _node(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"type": "kwok", "kubernetes.io/hostname": name},
                     "annotations": {"kwok.x-k8s.io/node": "fake"}},
    }  # fmt: skip


def _ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
