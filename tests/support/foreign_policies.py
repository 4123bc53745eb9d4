"""Network policies of others, each with whether it opens sandboxes: one list for the operator and for admission.

Templates have no labels of their own here, and where `LABELLED` says so, those of example.com/.
"""

from __future__ import annotations

from typing import Any, Final

from sandyard.api import names

__all__ = ["HARMLESS", "LABELLED", "OPENING", "OPEN_RULES", "policy"]

_OPEN: Final = {"egress": [{}], "policyTypes": ["Egress"]}
# Anything that a policy may let through.
OPEN_RULES: Final[dict[str, dict[str, Any]]] = {
    "all-out": _OPEN,
    "all-in": {"ingress": [{}]},
    "one-address": {"egress": [{"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}]}]},
    "one-port": {"egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}]},
    "one-namespace": {"ingress": [{"from": [{"namespaceSelector": {}}]}], "policyTypes": ["Ingress", "Egress"]},
    "both": {"ingress": [{}], "egress": [{}]},
}


def policy(selector: dict[str, Any], name: str = "foreign", **spec: Any) -> dict[str, Any]:
    """A NetworkPolicy; without *spec* it lets everything out."""
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": selector, **(spec or _OPEN)}}  # fmt: skip


def _labels(**labels: str) -> dict[str, Any]:
    return {"matchLabels": {key.replace("_", "/"): value for key, value in labels.items()}}


def _expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    found: dict[str, Any] = {"key": key, "operator": operator}
    if values:
        found["values"] = list(values)
    return {"matchExpressions": [found]}


_MANAGED = names.LABEL_MANAGED_BY
_OPENING_SELECTORS: Final[dict[str, dict[str, Any]]] = {
    "everything": {},
    "no-words": {"matchLabels": {}, "matchExpressions": []},
    "warm": {"matchLabels": {names.LABEL_STATE: "warm"}},
    "one-sandbox": {"matchLabels": {names.LABEL_SANDBOX_UID: "6f1c"}},
    "profile": {"matchLabels": {names.LABEL_EGRESS: "Internet"}},
    "made-by-us": {"matchLabels": {_MANAGED: "sandyard"}},
    "without-app": _expression("app", "DoesNotExist"),
    "not-web": _expression("app", "NotIn", "web"),
    "some-profiles": _expression(names.LABEL_EGRESS, "In", "None", "Internet"),
    "unclaimed": _expression(names.LABEL_SANDBOX_UID, "DoesNotExist"),
    "not-warm": _expression(names.LABEL_STATE, "NotIn", "warm"),
    "managed": _expression(_MANAGED, "Exists"),
    "managed-by-some": _expression(_MANAGED, "In", "Helm", "sandyard"),
    "not-helm": _expression(_MANAGED, "NotIn", "Helm"),
    "with-a-state": _expression(names.LABEL_STATE, "Exists"),
    "another-tool-without": {"matchExpressions": [*_expression("tier", "DoesNotExist")["matchExpressions"],
                                                  *_expression("app", "NotIn", "a", "b")["matchExpressions"]]},
    "zone": {"matchLabels": {"topology.kubernetes.io/zone": "a"}},
    "some-regions": _expression("topology.kubernetes.io/region", "In", "a", "b"),
    "any-zone": _expression("topology.kubernetes.io/zone", "Exists"),
    "no-zone": _expression("topology.kubernetes.io/zone", "DoesNotExist"),
    "ours-and-not-web": {"matchLabels": {_MANAGED: "sandyard"}, **_expression("app", "NotIn", "web")},
}  # fmt: skip
_HARMLESS_SELECTORS: Final[dict[str, dict[str, Any]]] = {
    "app": _labels(app="web"),
    "no-sandboxes": _expression(names.LABEL_STATE, "DoesNotExist"),
    "with-app": _expression("app", "Exists"),
    "some-apps": _expression("app", "In", "web", "db"),
    "helm": {"matchLabels": {_MANAGED: "Helm"}},
    "helm-or-flux": _expression(_MANAGED, "In", "Helm", "flux"),
    "unmanaged": _expression(_MANAGED, "DoesNotExist"),
    "not-ours": _expression(_MANAGED, "NotIn", "sandyard", "x"),
    "app-and-warm": {"matchLabels": {"app": "web", names.LABEL_STATE: "warm"}},
    "the-operator": {"matchLabels": {"app.kubernetes.io/name": "sandyard"}},
    "zone-and-app": {"matchLabels": {"topology.kubernetes.io/zone": "a", "app": "web"}},
    "excluded-by-the-second": {"matchExpressions": [*_expression("app", "NotIn", "web")["matchExpressions"],
                                                    *_expression(names.LABEL_STATE, "DoesNotExist")[
                                                        "matchExpressions"]]},
}  # fmt: skip

OPENING: Final = {
    **{f"{selector}-{rule}": policy(_OPENING_SELECTORS[selector], **spec)
       for selector, rule, spec in [("everything", *item) for item in OPEN_RULES.items()]},
    **{name: policy(selector) for name, selector in _OPENING_SELECTORS.items()},
}  # fmt: skip
HARMLESS: Final = {
    **{name: policy(selector) for name, selector in _HARMLESS_SELECTORS.items()},
    "default-deny": policy({}, policyTypes=["Ingress", "Egress"]),
    "deny-in": policy({}, ingress=[]),
    "deny-out": policy({}, egress=[], policyTypes=["Egress"]),
}
# Where policy.labels lets example.com/ through: whether it opens sandboxes then.
LABELLED: Final = {
    "a-label-of-templates": (policy({"matchLabels": {"example.com/team": "a"}}), True),
    "any-of-theirs": (policy(_expression("example.com/team", "Exists")), True),
    "one-of-theirs": (policy(_expression("example.com/team", "In", "a")), True),
    "another-domain": (policy({"matchLabels": {"example.org/team": "a"}}), False),
}
