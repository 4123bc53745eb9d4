"""Gives PersistentVolumeClaims of the default class a folder on the node: a run-alone program.

``volumes.py SERVER PKI-FOLDER VOLUMES-FOLDER NODE``: makes a volume for every claim that asks
for one, and removes volume and folder when the claim is gone.
"""

from __future__ import annotations

import http.client
import json
import pathlib
import shutil
import ssl
import sys
import time
from typing import Any
from urllib.parse import urlsplit

CLASS = "standard"
PROVISIONER = "sandyard.dev/local"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_INTERVAL_SECONDS = 0.5


class Api:
    """The few calls that this takes, as the administrator; on one connection: a new one costs more than a call."""

    def __init__(self, server: str, pki: pathlib.Path) -> None:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
        self._connection = http.client.HTTPSConnection(urlsplit(server).netloc, timeout=10, context=context)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send one request; raises OSError or HTTPException where it is not answered, or refused."""
        data = json.dumps(body).encode() if body is not None else None
        try:
            self._connection.request(method, path, data, {"Content-Type": "application/json"})
            reply = self._connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException):
            # The next call opens another.
            self._connection.close()
            raise
        if reply.status >= 400:
            raise OSError(f"{method} {path}: {reply.status} {text[:300]!r}")
        answer: dict[str, Any] = json.loads(text)
        return answer


def volume(claim: dict[str, Any], folder: pathlib.Path, node: str) -> dict[str, Any]:
    """The PersistentVolume for *claim*, at *folder* on *node*."""
    metadata, spec = claim["metadata"], claim["spec"]
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": {_PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]},
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
        },
    }


def step(api: Api, folder: pathlib.Path, node: str) -> None:
    """Make what is asked for, remove what is released."""
    volumes = api.call("GET", "/api/v1/persistentvolumes")["items"]
    known = {item["metadata"]["name"] for item in volumes}
    for claim in api.call("GET", "/api/v1/persistentvolumeclaims")["items"]:
        metadata, spec = claim["metadata"], claim["spec"]
        wanted = spec.get("storageClassName") == CLASS and not spec.get("volumeName")
        if not wanted or "deletionTimestamp" in metadata or f"pvc-{metadata['uid']}" in known:
            continue
        place = folder / metadata["uid"]
        place.mkdir(parents=True, exist_ok=True)
        api.call("POST", "/api/v1/persistentvolumes", volume(claim, place, node))
    for item in volumes:
        ours = (item["metadata"].get("annotations") or {}).get(_PROVISIONED_BY) == PROVISIONER
        if ours and item.get("status", {}).get("phase") in ("Released", "Failed"):
            shutil.rmtree(item["spec"]["local"]["path"], ignore_errors=True)
            api.call("DELETE", f"/api/v1/persistentvolumes/{item['metadata']['name']}")


def main(server: str, pki: str, folder: str, node: str) -> None:
    """Work until ended."""
    api = Api(server, pathlib.Path(pki))
    while True:
        try:
            step(api, pathlib.Path(folder), node)
        except (http.client.HTTPException, OSError, ValueError) as error:
            print(f"trying again: {error}", flush=True)
        time.sleep(_INTERVAL_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:5])
