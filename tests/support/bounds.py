"""Pools and Sandboxes and the bounds that they keep or break, by namespace.

The operator's own check and admission are asked about each of them, and say the same.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from tests.support import manifests

__all__ = ["CASES", "NAMESPACES", "Case"]

# Bounds of namespaces as the chart has them; "default" has those that nobody has changed.
NAMESPACES: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "narrow": {
        "images": ["^registry[.]example/", "^a$"],
        "runtimeClasses": ["gvisor", "kata"],
        "labels": ["team/"],
        "egress": ["None", "DNS", "AllowList"],
        "cidrs": ["198.51.100.0/24", "10.1.0.0/16", "2001:db8::/32"],
        "ports": ["443/*", "53/UDP"],
        "nameservers": ["10.0.0.53/32", "2001:db8::/64"],
        "ingressNamespaces": ["web", "team-*"],
        "maxCpu": 2,
        "maxMemory": "1Gi",
        "maxEphemeralStorage": "2Gi",
        "maxWorkspace": "1Gi",
        "maxTmp": "256Mi",
        "maxPersistent": "10Gi",
        "minCpuRequestPercent": 50,
        "minMemoryRequestPercent": 80,
        "storageClasses": ["fast"],
        "nodeSelector": ["disk=ssd", "zone", "!zone=b"],
        "tolerations": ["dedicated=a", "spot", "!spot=gpu"],
        "priorityClasses": ["low", "batch-*"],
        "imagePullSecrets": ["ours"],
        "maxLifetimeSeconds": 3600,
        "maxGraceSeconds": 30,
        "maxSandboxes": 10,
    },
    "shut": {"egress": ["None", "AllowList"], "allowIngress": False, "ports": [], "storageClasses": []},
    "but": {
        "ports": ["*", "!25/TCP", "!4*"],
        "ingressNamespaces": ["*", "!kube-system"],
        "storageClasses": ["_default", "!fast"],
    },
    "wide": {
        "allowRoot": True,
        "labels": ["team/", "app"],
        "annotations": ["example.com/"],
        "cidrs": ["0.0.0.0/0", "::/0"],
        "nameservers": ["0.0.0.0/0", "::/0"],
        "ingressNamespaces": ["*"],
        "maxCpu": "1k",
        "maxMemory": "16Ti",
        "maxEphemeralStorage": "64Ti",
        "maxWorkspace": "64Ti",
        "maxTmp": "64Ti",
        "maxPersistent": "64Ti",
        "minMemoryRequestPercent": 0,
        "nodeSelector": ["*"],
        "tolerations": ["*"],
    },
}
_RESOURCES = {"cpu": "1", "memory": "512Mi", "requests": {"cpu": "500m"}}
_OWN = manifests.sandbox("another", template={"image": "a", "resources": _RESOURCES})
_CLAIM = manifests.sandbox("another", "python")
_POOL = manifests.pool("another", 1, {"image": "a", "resources": _RESOURCES})
_NAMED = "kubernetes.io/metadata.name"


class Case:
    """One object, which differs from one within all bounds in one thing.

    Attributes
    ----------
    namespace
        A key of `NAMESPACES`.
    bound
        Key of the bound that it is beyond; empty: it is within all of them.
    field
        The field that is told, without ``spec.``.
    """

    def __init__(self, namespace: str, made: dict[str, Any], path: str, value: Any, bound: str, field: str) -> None:
        self.namespace = namespace
        self.made = _changed(made, path, value)
        self.bound = bound
        self.field = field


def _changed(made: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(made)
    *parents, last = ["spec", *path.split(".")]
    node = made
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = value
    return made


def _rule(cidr: str, *ports: str) -> dict[str, Any]:
    listed = [dict(zip(("port", "protocol"), (int(port.split("/")[0]), port.split("/")[1]), strict=True))
              for port in ports]  # fmt: skip
    return {"cidr": cidr, **({"ports": listed} if ports else {})}


def _list(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"egress": "AllowList", "allow": list(rules)}


def _peer(**selectors: Any) -> dict[str, Any]:
    return {"ingressFrom": [{**selectors, "ports": [{"port": 80}]}]}


def _in(*names: str, operator: str = "In") -> dict[str, Any]:
    return {"matchExpressions": [{"key": _NAMED, "operator": operator, "values": list(names)}]}


T = "template"
# path, value, field that is told; the object is a Sandbox with a template unless the path says otherwise.
_BEYOND: dict[str, dict[str, list[tuple[str, Any]]]] = {
    "default": {
        "allowRoot": [(f"{T}.user", {"uid": 0})],
        "labels": [(f"{T}.labels", {"app": "web"})],
        "annotations": [(f"{T}.annotations", {"example.com/a": "b"})],
        "cidrs": [
            *((f"{T}.network", _list(_rule(cidr))) for cidr in (
                "10.0.0.0/8", "10.1.2.3/32", "172.31.0.0/16", "192.168.0.0/24", "169.254.169.254/32", "100.64.0.0/10",
                "127.0.0.1/32", "0.0.0.0/0", "8.0.0.0/5", "0.0.0.0/1", "192.0.0.0/8", "224.0.0.1/32", "fd00::/8",
                "fe80::/10", "::/0", "::1/128", "64:ff9b::a00:0/104", "2002:a00::/24", "2000::/3", "::/1",
                "128.0.0.0/1", "169.254.0.0/15", "255.255.255.255/32", "0.0.0.0/32", "fec0::/10", "ff02::1/128",
                "64:ff9b:1::/48", "2001::/32", "2000::/4")),
            (f"{T}.network", _list(_rule("198.51.100.0/24"), _rule("10.0.0.0/8"))),
            (f"{T}.setup", {"command": ["a"], "network": _list(_rule("10.0.0.0/8"))}),
            ("network", _list(_rule("10.0.0.0/8", "443/TCP"))),
        ],
        "nameservers": [(f"{T}.dns", {"nameservers": servers}) for servers in (
            ["10.0.0.53"], ["1.1.1.1", "192.168.1.1"], ["fd00::53"], ["169.254.169.254"], ["::1"])],
        "ingressNamespaces": [
            (f"{T}.network", _peer(namespaceSelector={})),
            (f"{T}.network", _peer(namespaceSelector={}, podSelector={"matchLabels": {"a": "b"}})),
            (f"{T}.network", _peer(namespaceSelector={"matchLabels": {"team": "a"}})),
            (f"{T}.network", _peer(namespaceSelector={"matchLabels": {_NAMED: "kube-system"}})),
            (f"{T}.network", _peer(namespaceSelector=_in("a", operator="NotIn"))),
            ("network", _peer(namespaceSelector={})),
        ],
        "minMemoryRequestPercent": [
            (f"{T}.resources", {"memory": "16Gi", "requests": {"memory": "1Mi"}}),
            (f"{T}.resources", {"memory": "512Mi", "requests": {"memory": "511Mi"}}),
        ],
        "maxMemory": [(f"{T}.resources", {"memory": "16Ti"}), (f"{T}.resources", {"memory": "1100Gi"})],
        "maxCpu": [(f"{T}.resources", {"cpu": "513"}), (f"{T}.resources", {"cpu": 600}),
                   (f"{T}.resources", {"cpu": "1k"})],
        "maxEphemeralStorage": [(f"{T}.resources", {"ephemeralStorage": "101Gi"})],
        "maxWorkspace": [(f"{T}.workspace", {"sizeLimit": "1Ti"}),
                         (f"{T}.workspace", {"medium": "Memory", "sizeLimit": "1Ti"})],
        "maxTmp": [(f"{T}.tmp", {"sizeLimit": "64Ti"}), (f"{T}.tmp", {"medium": "Memory", "sizeLimit": "101Gi"})],
        "maxPersistent": [(f"{T}.workspace", {"persistent": {"size": "2Ti"}})],
        "nodeSelector": [(f"{T}.nodeSelector", {"node-role.kubernetes.io/control-plane": ""}),
                         (f"{T}.nodeSelector", {"zone": "a", "node-role.kubernetes.io/master": "true"})],
        "tolerations": [(f"{T}.tolerations", [item]) for item in (
            {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/master", "operator": "Equal", "value": "", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"},
            {"key": "node.cloudprovider.kubernetes.io/uninitialized", "operator": "Exists"})],
    },
    "narrow": {
        "images": [(f"{T}.image", "evil/registry.example/x"), (f"{T}.image", "ab"),
                   (f"{T}.image", "registryXexample/x")],
        "runtimeClasses": [(f"{T}.runtimeClassName", "runc"), (f"{T}.runtimeClassName", "gvisor-too")],
        "labels": [(f"{T}.labels", {"team/a": "x", "app": "y"})],
        "egress": [(f"{T}.network", {"egress": "Internet"}),
                   (f"{T}.setup", {"command": ["a"], "network": {"egress": "Internet"}}),
                   ("network", {"egress": "Internet"})],
        "cidrs": [*((f"{T}.network", _list(_rule(cidr, "443/TCP"))) for cidr in
                    ("198.51.100.0/23", "10.0.0.0/8", "10.2.0.0/24", "8.8.8.8/32", "0.0.0.0/0", "2001:db9::/32",
                     "2001:d00::/24"))],
        "ports": [(f"{T}.network", _list(_rule("10.1.0.0/16", *ports))) for ports in (
            (), ("80/TCP",), ("443/TCP", "444/TCP"), ("53/TCP",), ("4430/TCP",))],
        "nameservers": [(f"{T}.dns", {"nameservers": ["1.1.1.1"]}), (f"{T}.dns", {"nameservers": ["10.0.0.54"]}),
                        (f"{T}.dns", {"nameservers": ["2001:db8:1::1"]})],
        "ingressNamespaces": [(f"{T}.network", _peer(namespaceSelector=_in("web", "other"))),
                              (f"{T}.network", _peer(namespaceSelector={"matchLabels": {_NAMED: "website"}}))],
        "maxCpu": [(f"{T}.resources", {"cpu": "2001m", "requests": {"cpu": "2"}})],
        "maxMemory": [(f"{T}.resources", {"memory": "1025Mi", "requests": {"cpu": "1"}})],
        "maxEphemeralStorage": [(f"{T}.resources", {"ephemeralStorage": "3G", "requests": {"cpu": "1"}})],
        "maxWorkspace": [(f"{T}.workspace", {"sizeLimit": "1025Mi"})],
        "maxTmp": [(f"{T}.tmp", {"sizeLimit": "257Mi"})],
        "maxPersistent": [(f"{T}.workspace", {"persistent": {"size": "11Gi"}})],
        "minCpuRequestPercent": [(f"{T}.resources", {"cpu": "1", "requests": {"cpu": "499m"}}),
                                 (f"{T}.resources", {"cpu": "1"})],
        "minMemoryRequestPercent": [
            (f"{T}.resources", {"memory": "1Gi", "requests": {"cpu": "1", "memory": "800Mi"}})],
        "storageClasses": [(f"{T}.workspace", {"persistent": {"size": "1Gi", "storageClassName": "slow"}}),
                           (f"{T}.workspace", {"persistent": {"size": "1Gi"}})],
        "nodeSelector": [(f"{T}.nodeSelector", {"disk": "hdd"}), (f"{T}.nodeSelector", {"zone": "b"}),
                         (f"{T}.nodeSelector", {"zone": "a", "tenant": "b"})],
        "tolerations": [(f"{T}.tolerations", [item]) for item in (
            {"key": "dedicated", "value": "b"}, {"key": "dedicated", "operator": "Exists"}, {"key": "other"},
            {"key": "spot", "operator": "Exists"}, {"key": "spot", "value": "gpu"})],
        "priorityClasses": [(f"{T}.priorityClassName", "high"), (f"{T}.priorityClassName", "lower"),
                            (f"{T}.priorityClassName", "batch")],
        "imagePullSecrets": [(f"{T}.imagePullSecrets", [{"name": "theirs"}]),
                             (f"{T}.imagePullSecrets", [{"name": "ours"}, {"name": "ours2"}])],
        "maxLifetimeSeconds": [("lifetime", {"seconds": 3601}),
                               (f"{T}.setup", {"command": ["a"], "timeoutSeconds": 3601})],
        "maxGraceSeconds": [(f"{T}.terminationGracePeriodSeconds", 31)],
    },
    "shut": {
        "egress": [("network", {"egress": "DNS"}), (f"{T}.network", {"egress": "Internet"})],
        "ports": [(f"{T}.network", _list(_rule("198.51.100.0/24", "443/TCP")))],
        "allowIngress": [(f"{T}.network", _peer(podSelector={})), ("network", _peer(podSelector={}))],
        "storageClasses": [(f"{T}.workspace", {"persistent": {"size": "1Gi"}})],
    },
    "but": {
        # What is more than something that is refused: every port, every namespace.
        "ports": [(path, _list(_rule("198.51.100.0/24", *ports))) for ports in ((), ("25/TCP",), ("80/TCP", "443/TCP"))
                  for path in (f"{T}.network", "network")],
        "ingressNamespaces": [(f"{T}.network", _peer(namespaceSelector=selector)) for selector in (
            {}, {"matchLabels": {_NAMED: "kube-system"}}, {"matchLabels": {"team": "a"}}, _in("web", "kube-system"),
            _in("kube-system", operator="NotIn"))],
        "storageClasses": [(f"{T}.workspace", {"persistent": {"size": "1Gi", "storageClassName": "fast"}})],
    },
}  # fmt: skip
_WITHIN: dict[str, list[tuple[str, Any]]] = {
    "default": [
        (f"{T}.user", {"uid": 1}),
        (f"{T}.network", {"egress": "Internet"}),
        *((f"{T}.network", _list(_rule(cidr))) for cidr in
          ("198.51.100.0/24", "1.1.1.1/32", "203.0.113.0/24", "11.0.0.0/8", "2001:db8::/32", "2606:4700::/32")),
        (f"{T}.dns", {"nameservers": ["1.1.1.1", "2606:4700::1111"]}),
        (f"{T}.network", _peer(podSelector={})),
        ("network", _peer(podSelector={"matchLabels": {"a": "b"}})),
        (f"{T}.resources", {"cpu": "512", "memory": "1Ti", "requests": {"memory": "1024Gi", "cpu": "1m"}}),
        (f"{T}.nodeSelector", {"kubernetes.io/arch": "arm64", "tenant": "a"}),
        (f"{T}.tolerations", [{"key": "dedicated", "value": "a"}, {"key": "gpu", "operator": "Exists"}]),
        (f"{T}.tolerations", [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                               "tolerationSeconds": 5}]),
        (f"{T}.priorityClassName", "mine"),
        (f"{T}.imagePullSecrets", [{"name": "any"}]),
        ("lifetime", {"seconds": 315360000}),
        (f"{T}.workspace", {"persistent": {"size": "1Ti", "storageClassName": "any"}}),
    ],
    "narrow": [
        (f"{T}.image", "registry.example/x@sha256:0"), (f"{T}.runtimeClassName", "kata"),
        (f"{T}.labels", {"team/a": "x"}),
        (f"{T}.network", _list(_rule("198.51.100.128/25", "443/TCP", "443/UDP"), _rule("10.1.2.3/32", "53/UDP"))),
        (f"{T}.network", _list(_rule("2001:db8:1::/48", "443/TCP"))),
        (f"{T}.dns", {"nameservers": ["10.0.0.53", "2001:db8::1"]}),
        (f"{T}.network", _peer(namespaceSelector={"matchLabels": {_NAMED: "web"}})),
        (f"{T}.network", _peer(namespaceSelector=_in("web", "team-b"), podSelector={})),
        (f"{T}.network", _peer(podSelector={})),
        (f"{T}.resources", {"cpu": 2, "memory": "1Gi", "requests": {"cpu": "1000m", "memory": "820Mi"}}),
        (f"{T}.resources", {"ephemeralStorage": "2G", "requests": {"cpu": "1"}}),
        (f"{T}.workspace", {"sizeLimit": "1024Mi", "persistent": {"size": "10Gi", "storageClassName": "fast"}}),
        (f"{T}.nodeSelector", {"disk": "ssd", "zone": "a"}),
        (f"{T}.tolerations", [{"key": "dedicated", "value": "a"}, {"key": "spot", "value": "true"}]),
        (f"{T}.priorityClassName", "low"), (f"{T}.priorityClassName", "batch-x"),
        (f"{T}.imagePullSecrets", [{"name": "ours"}]),
        ("lifetime", {"seconds": 3600}), ("lifetime", {"idleSeconds": 7200}),
        (f"{T}.setup", {"command": ["a"], "timeoutSeconds": 3600}), (f"{T}.terminationGracePeriodSeconds", 30),
    ],
    "shut": [("network", {"egress": "None"}), (f"{T}.network", {"egress": "None"})],
    "but": [
        (f"{T}.network", _list(_rule("198.51.100.0/24", "80/TCP", "25/UDP"))),
        (f"{T}.network", _peer(namespaceSelector=_in("web"))), (f"{T}.network", _peer(podSelector={})),
        (f"{T}.workspace", {"persistent": {"size": "1Gi"}}),
    ],
    "wide": [
        (f"{T}.user", {"uid": 0}), (f"{T}.labels", {"app": "x", "team/a": "y"}),
        (f"{T}.annotations", {"example.com/a": "b"}),
        (f"{T}.network", _list(_rule("0.0.0.0/0"), _rule("10.0.0.0/8"), _rule("fd00::/8"))),
        (f"{T}.dns", {"nameservers": ["10.0.0.53", "fd00::1"]}),
        (f"{T}.network", _peer(namespaceSelector={})),
        (f"{T}.resources", {"memory": "16Ti", "cpu": "1k", "requests": {"memory": "1Mi"}}),
        (f"{T}.nodeSelector", {"node-role.kubernetes.io/control-plane": ""}),
        (f"{T}.tolerations", [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]),
    ],
}  # fmt: skip
# Of pools: path, value, bound, field.
_POOLS: list[tuple[str, str, Any, str]] = [
    ("default", f"{T}.network", _list(_rule("10.0.0.0/8")), "cidrs"),
    ("default", f"{T}.resources", {"memory": "8Gi", "requests": {"memory": "1Gi"}}, "minMemoryRequestPercent"),
    ("narrow", f"{T}.image", "evil", "images"),
    ("narrow", f"{T}.runtimeClassName", "runc", "runtimeClasses"),
    ("narrow", "allowedEgress", ["None", "Internet"], "egress"),
    ("narrow", "claimDefaults", {"lifetime": {"seconds": 3601}}, "maxLifetimeSeconds"),
    ("narrow", "maxLifetimeSeconds", 3601, "maxLifetimeSeconds"),
    ("narrow", "replicas", 11, "maxSandboxes"),
    ("narrow", "maxSandboxes", 11, "maxSandboxes"),
    ("narrow", "autoscale", {"maxReplicas": 11}, "maxSandboxes"),
    (
        "narrow",
        "schedule",
        [{"cron": "0 7 * * *", "replicas": 3}, {"cron": "0 8 * * *", "replicas": 11}],
        "maxSandboxes",
    ),
    ("narrow", "replicas", 10, ""),
    ("narrow", "autoscale", {"maxReplicas": 10}, ""),
    ("narrow", "schedule", [{"cron": "0 7 * * *", "replicas": 10}], ""),
    ("narrow", "allowedEgress", ["None", "DNS"], ""),
    ("narrow", "maxLifetimeSeconds", 3600, ""),
    ("wide", "replicas", 10000, ""),
]
_FIELDS = {
    "allowRoot": "user.uid", "images": "image", "runtimeClasses": "runtimeClassName", "maxCpu": "resources.cpu",
    "maxMemory": "resources.memory", "maxEphemeralStorage": "resources.ephemeralStorage",
    "maxWorkspace": "workspace.sizeLimit", "maxTmp": "tmp.sizeLimit", "maxPersistent": "workspace.persistent.size",
    "minCpuRequestPercent": "resources.requests.cpu", "minMemoryRequestPercent": "resources.requests.memory",
    "storageClasses": "workspace.persistent.storageClassName", "priorityClasses": "priorityClassName",
    "nameservers": "dns.nameservers", "maxGraceSeconds": "terminationGracePeriodSeconds",
}  # fmt: skip
_OF_NETWORKS = {"egress": "egress", "cidrs": "allow", "ports": "allow", "allowIngress": "ingressFrom",
                "ingressNamespaces": "ingressFrom"}  # fmt: skip


def _field(path: str, bound: str) -> str:
    if bound in _OF_NETWORKS:
        if path == "allowedEgress":
            return path
        return f"{path}{'.network' if path.endswith('setup') else ''}.{_OF_NETWORKS[bound]}"
    if bound == "maxLifetimeSeconds":
        return {"lifetime": "lifetime.seconds", "claimDefaults": "claimDefaults.lifetime.seconds",
                f"{T}.setup": f"{T}.setup.timeoutSeconds"}.get(path, path)  # fmt: skip
    if bound == "maxSandboxes":
        return "autoscale.maxReplicas" if path == "autoscale" else path
    return f"template.{_FIELDS.get(bound, bound)}"


def _cases() -> dict[str, Case]:
    found: list[Case] = []
    for namespace, bounds in _BEYOND.items():
        for bound, changes in bounds.items():
            for path, value in changes:
                base = _CLAIM if path == "network" else _OWN
                found.append(Case(namespace, base, path, value, bound, _field(path, bound)))
    for namespace, within in _WITHIN.items():
        found += [Case(namespace, _CLAIM if path == "network" else _OWN, path, value, "", "") for path, value in within]
    for namespace, path, value, bound in _POOLS:
        found.append(Case(namespace, _POOL, path, value, bound, _field(path, bound) if bound else ""))
    return {f"{number}-{case.namespace}-{case.bound or 'within'}": case for number, case in enumerate(found)}


CASES: Final = _cases()
