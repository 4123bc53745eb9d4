"""Pods as the watch would show them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.api.template import Template
from sandyard.podspec import pod as podspec
from sandyard.podspec.shape import Installation

PROBE = podspec.Probe(image="operator:1", pull_policy="IfNotPresent", forbidden=("10.96.0.1:443",))


def installation(**fields: Any) -> Installation:
    """The installation whose pods prove themselves by `PROBE`."""
    return Installation(image_repository="operator", runtime="Required", network="Required", **fields)


READY_AT = "2026-01-01T00:00:10Z"


def template(**fields: Any) -> Template:
    return Template.model_validate({"image": "python:3.11", **fields})


# Soft and hard, of two kinds.
LIMITS = [20000, 20000, -1, -1]


def proof(**fields: Any) -> str:
    """What an init container of ours says when all is well: the proof's words, and the cleaner's."""
    content = {"version": 1, "runtime": "gvisor", "isolated": True, "kernel": "4.4.0", "network": "Enforced"}
    return json.dumps({**content, "limits": LIMITS, "memoryKiB": 20000, **fields})


def pod(uid: str = "p1", **changes: Any) -> Pod:
    """A warm pod; *changes* replace parts of it.

    labels, annotations, finalizers, deletion, phase, ready, message (of the probe),
    containers (statuses), conditions, reason, told (its message), node, owners
    """
    labels = {
        names.LABEL_STATE: names.STATE_WARM,
        names.LABEL_EGRESS: names.EGRESS_NONE,
        names.LABEL_POOL_UID: "pool",
        names.LABEL_TEMPLATE_HASH: "hash",
        **changes.get("labels", {}),
    }
    claimed, pool = labels.get(names.LABEL_SANDBOX_UID), labels.get(names.LABEL_POOL_UID)
    owner = {"kind": names.SANDBOX_KIND, "name": "s", "uid": claimed} if claimed else {
        "kind": names.POOL_KIND, "name": changes.get("pool", "pool"), "uid": pool}  # fmt: skip
    ready = changes.get("ready", True)
    message = changes.get("message", proof())
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": READY_AT}]
    terminated = {"exitCode": 0 if changes.get("phase") != "Failed" else 1, "message": message}
    body = {
        "metadata": {
            "name": f"name-{uid}",
            "namespace": "ns",
            "uid": uid,
            "resourceVersion": changes.get("version", "1"),
            "creationTimestamp": changes.get("created", "2026-01-01T00:00:00Z"),
            "labels": {key: value for key, value in labels.items() if value is not None},
            "finalizers": changes.get("finalizers", []),
            "ownerReferences": changes.get("owners", [owner] if claimed or pool else []),
            **({"deletionTimestamp": changes["deletion"]} if changes.get("deletion") else {}),
        },
        "spec": {"nodeName": changes.get("node", "node-1")},
        "status": {
            "phase": changes.get("phase", "Running"),
            "reason": changes.get("reason", ""),
            "message": changes.get("told", ""),
            "podIP": "10.0.0.1",
            "conditions": conditions + changes.get("conditions", []),
            "initContainerStatuses": changes.get(
                "init", [{"name": names.PROBE_CONTAINER, "state": {"terminated": terminated}}] if message else []
            ),
            "containerStatuses": changes.get("containers", []),
        },
    }
    return msgspec.json.decode(json.dumps(body), type=Pod)
