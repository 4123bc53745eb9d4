"""The cluster's name server, where it is asked for: CoreDNS, deployed as clusters have it.

It answers for the Services of the cluster and for one zone of outside names, knows nothing else, and logs each
question.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from localcluster import images, lifecycle, network, paths

__all__ = ["NAMES", "ZONE", "plant", "questions", "uproot"]

ZONE = "outside.example"
# Names of the zone, and the records of each as a zone file has them.
NAMES: Mapping[str, Sequence[str]] = {"internet": ["A 203.0.113.10"]}
_NAME = "coredns"
_NAMESPACE = "kube-system"
_LABELS = {"k8s-app": "kube-dns"}
_SELECTOR = "k8s-app=kube-dns"
# Nothing is remembered for long: an answer may change between two questions.
_COREFILE = f"""
.:53 {{
    errors
    ready
    log . "{{type}} {{proto}} {{rcode}} {{name}}"
    kubernetes {network.DNS_DOMAIN} in-addr.arpa ip6.arpa {{
        ttl 0
    }}
    file /etc/coredns/zone {ZONE}
}}
"""
_ZONE_HEAD = f"""
$ORIGIN {ZONE}.
$TTL 0
@ SOA ns hostmaster 1 3600 600 86400 0
@ NS ns
ns A 203.0.113.10
"""


def plant(cluster: paths.Cluster, names: Mapping[str, Sequence[str]] = NAMES) -> None:
    """Run CoreDNS in the cluster with *names* in its zone, and wait until it answers."""
    lifecycle.provide(cluster, images.coredns())
    made = {"apiVersion": "v1", "kind": "List", "items": _objects(names)}
    _kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(made))
    _kubectl(cluster, "rollout", "status", f"deployment/{_NAME}", "--timeout=120s")


def uproot(cluster: paths.Cluster) -> None:
    """Take all of it away again."""
    kinds = "deployment,service,serviceaccount,configmap,clusterrole,clusterrolebinding"
    _kubectl(cluster, "delete", kinds, "--selector", _SELECTOR)
    _kubectl(cluster, "wait", "--for=delete", "pod", "--selector", _SELECTOR, "--timeout=60s")


def questions(cluster: paths.Cluster, part: str) -> list[str]:
    """Questions for a name with *part* in it that the name server has been asked: type, protocol, answer's code, name.

    Only those of its pods that run are known.
    """
    log = _kubectl(cluster, "logs", "--selector", _SELECTOR, "--tail=-1")
    found = [re.fullmatch(r"\[INFO\] ([A-Z0-9]+ (?:udp|tcp) .*)", line) for line in log.splitlines()]
    return [match[1] for match in found if match and part in match[1]]


def _objects(names: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    zone = _ZONE_HEAD + "".join(f"{name} {record}\n" for name, records in names.items() for record in records)
    digest = hashlib.sha256(zone.encode()).hexdigest()
    where = {"namespace": _NAMESPACE, "labels": _LABELS}
    metadata = {"name": _NAME, **where}
    account = {"kind": "ServiceAccount", "name": _NAME, "namespace": _NAMESPACE}
    ports = [{"name": protocol.lower(), "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": metadata,
            "rules": [
                {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": _NAME},
            "subjects": [account],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": _COREFILE, "zone": zone}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", **where},
            "spec": {"clusterIP": network.DNS_ADDRESS, "selector": _LABELS, "ports": ports},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": _LABELS},
                "strategy": {"type": "Recreate"},
                # With another zone it is another pod: a change of the ConfigMap alone reaches it after a minute.
                "template": {"metadata": {"labels": _LABELS, "annotations": {"zone": digest}}, "spec": _pod()},
            },
        },
    ]


def _pod() -> dict[str, Any]:
    container = {
        "name": _NAME,
        "image": images.COREDNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["/coredns", "-conf", "/etc/coredns/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "170Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    return {
        "serviceAccountName": _NAME,
        # It answers for the cluster; it does not ask itself.
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": _NAME}}],
    }


def _kubectl(cluster: paths.Cluster, *arguments: str, stdin: str | None = None) -> str:
    return lifecycle.kubectl(cluster, f"--namespace={_NAMESPACE}", *arguments, stdin=stdin)
