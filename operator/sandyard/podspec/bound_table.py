"""Which part of a pool and of a Sandbox each bound is about: one table, checked here and held by admission too.

`hack/generate` writes the chart's admission policy from it (`sandyard.podspec.admission`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from sandyard.api.network import Network
from sandyard.podspec.bounds import Bounds
from sandyard.podspec.limit import (
    AtMost,
    Begins,
    Leave,
    Limit,
    Listed,
    Matched,
    Most,
    Peers,
    Ports,
    Ranges,
    Share,
    Words,
)

__all__ = ["ASKED", "ROWS", "Row", "beyond", "cel", "network_beyond"]

_Spec = Mapping[str, Any]
# No class can be called this.
_DEFAULT_CLASS: Final = "_default"


@dataclass(frozen=True)
class Items:
    """What a row looks at.

    Attributes
    ----------
    of
        Takes it out of a spec, as users write it.
    cel
        The same as an expression, a list.
    """

    of: Callable[[_Spec], list[Any]]
    cel: str


@dataclass(frozen=True)
class Row:
    """One bound of one field.

    Attributes
    ----------
    bound
        Its key under ``policy`` of the chart.
    field
        Where it is looked at, without ``spec.``.
    """

    bound: str
    field: str
    items: Items
    limit: Limit

    def check(self, spec: _Spec, bounds: Bounds) -> Iterator[str]:
        """What of *spec* is beyond *bounds*, as a sentence."""
        bound = bounds.value(self.bound)
        found = [item for item in self.items.of(spec) if not self.limit.keeps(item, bound)]
        if found:
            shown = ", ".join(self.limit.shown(item) for item in found)
            yield f"spec.{self.field}: {shown} {self.says} ({_shown(bound)})"

    @property
    def says(self) -> str:
        """What the sentence says between the value and the bound."""
        return f"is beyond policy.{self.bound} of the chart"


def beyond(spec: _Spec, bounds: Bounds) -> list[str]:
    """What a Sandbox or a pool asks for beyond *bounds*, a sentence each.

    Parameters
    ----------
    spec
        As users write it, with its defaults.
    """
    return [sentence for row in ROWS for sentence in row.check(spec, bounds)]


def network_beyond(network: Network, bounds: Bounds) -> str:
    """What a Sandbox's own *network* asks for beyond *bounds*; empty if that is nothing."""
    content = {"network": network.model_dump(mode="json", by_alias=True, exclude_none=True)}
    return "; ".join(sentence for row in _NETWORK_OF_ITS_OWN for sentence in row.check(content, bounds))


def _shown(bound: Any) -> str:
    if isinstance(bound, tuple):
        return ", ".join(bound) or "nothing"
    return str(bound).lower() if isinstance(bound, bool) else str(bound)


def _at(spec: _Spec, path: str) -> Any:
    found: Any = spec
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def cel(path: str) -> str:
    """The value at *path* of a spec, as an optional."""
    return "object.spec" + "".join(f".?{part}" for part in path.split("."))


def _one(path: str) -> Items:
    """The value at *path*, if there is one."""
    return Items(lambda spec: _listed(_at(spec, path)), f"{cel(path)}.optMap(v, [v]).orValue([])")


def _text(path: str) -> Items:
    """The same as text: a quantity may be written as a number."""
    found = _one(path)
    return Items(lambda spec: [str(value) for value in found.of(spec)],
                 f"{cel(path)}.optMap(v, [string(v)]).orValue([])")  # fmt: skip


def _storage_class(path: str) -> Items:
    """The class of a volume, if there is one; who names none gets the cluster's own."""
    return Items(
        lambda spec: [found.get("storageClassName") or _DEFAULT_CLASS for found in _listed(_at(spec, path))],
        f"{cel(path)}.optMap(v, [has(v.storageClassName) ? string(v.storageClassName) : '{_DEFAULT_CLASS}'])"
        ".orValue([])",
    )


def _listed(value: Any) -> list[Any]:
    return [] if value is None else [value]


def _each(path: str) -> Items:
    """The items of a list, the keys of a map."""
    return Items(lambda spec: list(_at(spec, path) or ()), f"{cel(path)}.orValue([])")


def _keys(path: str) -> Items:
    return Items(lambda spec: list(_at(spec, path) or ()), f"{cel(path)}.orValue({{}}).map(v, string(v))")


def _pairs(path: str) -> Items:
    """The entries of a map, as ``key=value``."""
    return Items(
        lambda spec: [f"{key}={value}" for key, value in (_at(spec, path) or {}).items()],
        f"{cel(path)}.optMap(m, m.map(v, string(v) + '=' + string(m[v]))).orValue([])",
    )


def _taints(path: str) -> Items:
    """Tolerations: ``key=value``, or the key alone where every value is tolerated."""
    return Items(
        lambda spec: [item["key"] if item.get("operator") == "Exists" else f"{item['key']}={item.get('value', '')}"
                      for item in _at(spec, path) or ()],
        f"{cel(path)}.orValue([]).map(v, has(v.operator) && v.operator == 'Exists' ? string(v.key) : "
        "string(v.key) + '=' + (has(v.value) ? string(v.value) : ''))",
    )  # fmt: skip


def _names(path: str) -> Items:
    return Items(
        lambda spec: [item["name"] for item in _at(spec, path) or ()],
        f"{cel(path)}.orValue([]).map(v, string(v.name))",
    )


def _sizes(path: str) -> Items:
    """``replicas`` of each entry of a list."""
    return Items(
        lambda spec: [item["replicas"] for item in _at(spec, path) or ()],
        f"{cel(path)}.orValue([]).map(v, v.replicas)",
    )


def _root(path: str) -> Items:
    """The user id 0, if it is asked for."""
    found = _one(path)
    return Items(lambda spec: [uid for uid in found.of(spec) if uid == 0], f"{found.cel}.filter(v, v == 0)")


def _any_peer(path: str) -> Items:
    return Items(
        lambda spec: ["peers"] if _at(spec, path) else [], f"({cel(path)}.orValue([]).size() > 0 ? ['peers'] : [])"
    )


def _hosts(path: str) -> Items:
    """Addresses, as ranges of one."""
    return Items(
        lambda spec: [f"{address}/{128 if ':' in address else 32}" for address in _at(spec, path) or ()],
        f"{cel(path)}.orValue([]).map(v, string(v) + (ip(v).family() == 4 ? '/32' : '/128'))",
    )


def _blocks(path: str) -> Items:
    return Items(
        lambda spec: [rule["cidr"] for rule in _at(spec, path) or ()],
        f"{cel(path)}.orValue([]).map(v, string(v.cidr))",
    )


def _network(path: str) -> list[Row]:
    """What a network at *path* may open."""
    return [
        Row("egress", f"{path}.egress", _text(f"{path}.egress"), Listed()),
        Row("cidrs", f"{path}.allow", _blocks(f"{path}.allow"), Ranges()),
        Row("ports", f"{path}.allow", _each(f"{path}.allow"), Ports()),
        Row("allowIngress", f"{path}.ingressFrom", _any_peer(f"{path}.ingressFrom"), Leave()),
        Row("ingressNamespaces", f"{path}.ingressFrom", _each(f"{path}.ingressFrom"), Peers()),
    ]


def _size(bound: str, path: str) -> Row:
    return Row(bound, path, _text(path), AtMost())


_NETWORK_OF_ITS_OWN: Final = _network("network")
_RESOURCES: Final = "template.resources"
ROWS: Final = [
    Row("allowRoot", "template.user.uid", _root("template.user.uid"), Leave()),
    Row("images", "template.image", _text("template.image"), Matched()),
    Row("runtimeClasses", "template.runtimeClassName", _text("template.runtimeClassName"), Listed(or_any=True)),
    Row("labels", "template.labels", _keys("template.labels"), Begins()),
    Row("annotations", "template.annotations", _keys("template.annotations"), Begins()),
    *_network("template.network"),
    *_network("template.setup.network"),
    Row("nameservers", "template.dns.nameservers", _hosts("template.dns.nameservers"), Ranges()),
    _size("maxCpu", f"{_RESOURCES}.cpu"),
    _size("maxMemory", f"{_RESOURCES}.memory"),
    _size("maxEphemeralStorage", f"{_RESOURCES}.ephemeralStorage"),
    _size("maxWorkspace", "template.workspace.sizeLimit"),
    _size("maxTmp", "template.tmp.sizeLimit"),
    _size("maxPersistent", "template.workspace.persistent.size"),
    Row("minCpuRequestPercent", f"{_RESOURCES}.requests.cpu", _one(_RESOURCES), Share("cpu", Fraction(1, 10))),
    Row("minMemoryRequestPercent", f"{_RESOURCES}.requests.memory", _one(_RESOURCES), Share("memory", Fraction(1))),
    Row("storageClasses", "template.workspace.persistent.storageClassName",
        _storage_class("template.workspace.persistent"), Words()),
    Row("nodeSelector", "template.nodeSelector", _pairs("template.nodeSelector"), Words()),
    Row("tolerations", "template.tolerations", _taints("template.tolerations"), Words()),
    Row("priorityClasses", "template.priorityClassName", _text("template.priorityClassName"), Words()),
    Row("imagePullSecrets", "template.imagePullSecrets", _names("template.imagePullSecrets"), Words()),
    *_NETWORK_OF_ITS_OWN,
    Row("egress", "allowedEgress", _each("allowedEgress"), Listed()),
    Row("maxLifetimeSeconds", "lifetime.seconds", _one("lifetime.seconds"), Most()),
    Row("maxLifetimeSeconds", "claimDefaults.lifetime.seconds", _one("claimDefaults.lifetime.seconds"), Most()),
    Row("maxLifetimeSeconds", "maxLifetimeSeconds", _one("maxLifetimeSeconds"), Most()),
    Row("maxLifetimeSeconds", "template.setup.timeoutSeconds", _one("template.setup.timeoutSeconds"), Most()),
    Row("maxGraceSeconds", "template.terminationGracePeriodSeconds", _one("template.terminationGracePeriodSeconds"),
        Most()),
    Row("maxSandboxes", "replicas", _one("replicas"), Most()),
    Row("maxSandboxes", "maxSandboxes", _one("maxSandboxes"), Most()),
    Row("maxSandboxes", "schedule", _sizes("schedule"), Most()),
    Row("maxSandboxes", "autoscale.maxReplicas", _one("autoscale.maxReplicas"), Most()),
]  # fmt: skip
# All that a row looks at lies at or below one of these: who has none of them asks for nothing that has a bound, as most
# Sandboxes of a pool do. Admission looks no further then; half of what the POST of a claim cost was that.
ASKED: Final = (
    "template", "network", "allowedEgress", "lifetime.seconds", "claimDefaults.lifetime.seconds", "maxLifetimeSeconds",
    "replicas", "maxSandboxes", "schedule", "autoscale.maxReplicas",
)  # fmt: skip
