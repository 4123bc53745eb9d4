"""What any template and any Sandbox of a namespace may ask for: values under ``policy`` of the chart.

The table of `sandyard.podspec.bound_table` says what each of them bounds.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sandyard.api import quantity
from sandyard.podspec.limit import PUBLIC

__all__ = ["VALUES", "Bounds", "Policy", "parse"]


def _key(attribute: str) -> str:
    first, *further = attribute.split("_")
    return first + "".join(word.capitalize() for word in further)


@dataclass(frozen=True)
class Bounds:
    """The bounds of one namespace; what each of them means stands in the chart's values.

    Lists have the forms of `sandyard.podspec.limit`, sizes are quantities, and a number of 0 bounds nothing.
    """

    allow_root: bool = False
    images: tuple[str, ...] = ()
    runtime_classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    egress: tuple[str, ...] = ("None", "DNS", "Internet", "AllowList")
    cidrs: tuple[str, ...] = (PUBLIC,)
    ports: tuple[str, ...] = ("*",)
    nameservers: tuple[str, ...] = (PUBLIC,)
    allow_ingress: bool = True
    ingress_namespaces: tuple[str, ...] = ()
    max_cpu: str = "512"
    max_memory: str = "1Ti"
    max_ephemeral_storage: str = "100Gi"
    max_workspace: str = "100Gi"
    max_tmp: str = "100Gi"
    max_persistent: str = "1Ti"
    min_cpu_request_percent: int = 0
    min_memory_request_percent: int = 100
    storage_classes: tuple[str, ...] = ("*",)
    node_selector: tuple[str, ...] = ("*", "!node-role.kubernetes.io/*")
    tolerations: tuple[str, ...] = (
        "*", "!node-role.kubernetes.io/*", "!node.cloudprovider.kubernetes.io/*",
        "!node.kubernetes.io/unschedulable", "!node.kubernetes.io/disk-pressure", "!node.kubernetes.io/memory-pressure",
        "!node.kubernetes.io/pid-pressure", "!node.kubernetes.io/network-unavailable",
        "!node.kubernetes.io/out-of-service",
    )  # fmt: skip
    priority_classes: tuple[str, ...] = ("*", "!system-*")
    image_pull_secrets: tuple[str, ...] = ("*",)
    max_lifetime_seconds: int = 0
    max_grace_seconds: int = 0
    max_sandboxes: int = 0

    def value(self, key: str) -> Any:
        """The bound that the chart has under ``policy.<key>``."""
        return getattr(self, VALUES[key])


# The chart's key of each bound, and the field that holds it here.
VALUES: Final = {_key(item.name): item.name for item in dataclasses.fields(Bounds)}
_ENTRIES: Final[dict[str, Callable[[str], object]]] = {
    "images": re.compile,
    **{key: lambda entry: entry == PUBLIC or ipaddress.ip_network(entry, strict=False)
       for key in ("cidrs", "nameservers")},
}  # fmt: skip


@dataclass(frozen=True)
class Policy:
    """The bounds of this installation.

    Attributes
    ----------
    everywhere
        Of namespaces that are not listed.
    namespaces
        Those of each that is.
    """

    everywhere: Bounds = Bounds()
    namespaces: Mapping[str, Bounds] = field(default_factory=dict)

    def of(self, namespace: str) -> Bounds:
        """The bounds that hold in *namespace*."""
        return self.namespaces.get(namespace, self.everywhere)

    @property
    def labels(self) -> tuple[str, ...]:
        """How keys of templates' labels may begin in any namespace."""
        every = [self.everywhere, *self.namespaces.values()]
        return tuple(dict.fromkeys(prefix for bounds in every for prefix in bounds.labels))


def parse(text: str) -> Policy:
    """Read ``policy`` of the chart, as JSON; what a namespace does not say is as everywhere.

    Raises
    ------
    ValueError
        It makes no sense; the message names the key.
    """
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("policy must be an object")
    everywhere = _changed(Bounds(), content, "policy")
    own = content.get("namespaces") or {}
    return Policy(everywhere, {name: _changed(everywhere, bounds, f"policy.namespaces.{name}")
                               for name, bounds in own.items()})  # fmt: skip


def _changed(bounds: Bounds, content: Mapping[str, Any], path: str) -> Bounds:
    # What else stands under policy is not about templates.
    given = {key: value for key, value in content.items() if key in VALUES}
    return dataclasses.replace(
        bounds, **{VALUES[key]: _value(key, value, f"{path}.{key}") for key, value in given.items()}
    )


def _value(key: str, value: Any, path: str) -> Any:
    default = Bounds().value(key)
    try:
        if isinstance(default, tuple):
            return _entries(key, value)
        if isinstance(default, str):
            quantity.parse(value)
            return str(value)
    except (ValueError, re.error) as error:
        raise ValueError(f"{path}: {error}") from error
    if type(value) is not type(default) or (isinstance(value, int) and value < 0):
        raise ValueError(f"{path}: {value!r} must be {'true or false' if isinstance(default, bool) else 'a number'}")
    return value


def _entries(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError("must be a list of texts")
    for entry in value:
        _ENTRIES.get(key, str)(entry)
    return tuple(value)
