"""What an earlier release has left in a cluster: as it was, in the store of another one.

A record holds the definitions of that release's chart and the objects that its operator had made of a few situations.
Its objects are written into etcd, past the API server, which would give them new UIDs and new times.
"""

from __future__ import annotations

import base64
import json
import pathlib
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from tests.support.control_plane import ControlPlane
from tests.support.kube import Kube

__all__ = ["KINDS", "RECORDS", "keep", "record", "restore"]

RECORDS: Final = pathlib.Path(__file__).resolve().parents[1] / "api" / "releases"
# Kind, and where the API server keeps it.
KINDS: Final = {
    "SandboxPool": "sandyard.dev/sandboxpools",
    "Sandbox": "sandyard.dev/sandboxes",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "NetworkPolicy": "networkpolicies",
}


def record(kube: Kube, definitions: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The objects of a namespace, and the *definitions* of our kinds that they were made by."""
    objects = [
        {**item, "metadata": {key: value for key, value in item["metadata"].items() if key != "managedFields"}}
        for kind in KINDS
        for item in kube.list(kind)
    ]
    return {"namespace": kube.namespace, "definitions": definitions, "objects": objects}


def keep(version: str, recorded: Mapping[str, Any]) -> None:
    """Write a record for later releases, an object a line."""
    lines = {name: ",\n".join(json.dumps(item, sort_keys=True) for item in recorded[name])
             for name in ("definitions", "objects")}  # fmt: skip
    (RECORDS / f"{version}.json").write_text(
        f'{{"namespace": {json.dumps(recorded["namespace"])},\n"definitions": [\n{lines["definitions"]}\n],\n'
        f'"objects": [\n{lines["objects"]}\n]}}\n'
    )


def restore(plane: ControlPlane, admin: Kube, recorded: Mapping[str, Any]) -> Kube:
    """Make of a new cluster the one that *recorded* tells of; returns its namespace."""
    definitions: list[dict[str, Any]] = list(recorded["definitions"])
    admin.apply_as_is(*definitions)
    for item in definitions:
        admin.wait_for("crd", item["metadata"]["name"], "Established", 30)
    kube = admin.within(recorded["namespace"])
    admin.make_namespace(kube.namespace)
    for item in recorded["objects"]:
        key = f"/registry/{KINDS[item['kind']]}/{kube.namespace}/{item['metadata']['name']}"
        _put(plane.etcd_port, key, json.dumps(item))
    return kube


def _put(etcd_port: int, key: str, value: str) -> None:
    body = {name: base64.b64encode(text.encode()).decode() for name, text in (("key", key), ("value", value))}
    address = f"http://127.0.0.1:{etcd_port}/v3/kv/put"
    with urllib.request.urlopen(address, json.dumps(body).encode(), timeout=10) as reply:
        assert reply.status == 200
