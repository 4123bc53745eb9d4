"""A simulated kubelet: pods turn ready with the probe's report, deleted ones go.

It plays the part of scheduler, node and probe for tests of the operator against a real API
server. It proves nothing about isolation; tests/cluster does.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import threading
import time
from typing import Any

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.kube import config as kube_config
from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.informer import Informer
from sandyard.kube.paths import Resource

__all__ = ["NODELESS", "Kubelet"]

# Namespaces that begin like this have no kubelet: their pods stay as the test made them.
NODELESS = "nodeless-"
_PODS = Resource("v1", "pods")
_CONTAINERS = ("initContainerStatuses", "containerStatuses")
_PROOF = {"version": 1, "runtime": "gvisor", "isolated": True, "kernel": "simulated", "network": "Enforced",
          "limits": [20000, 20000], "memoryKiB": 20000}  # fmt: skip


class Kubelet:
    """Runs in a thread of its own until stopped.

    Attributes
    ----------
    slow
        Names of images that are pulled for ever.
    stuck
        Names of images whose pods stay in ImagePullBackOff.
    failing
        Names of images whose probe fails to prove the network.
    slow_setups, failing_setups
        Names of images whose setup never ends, or ends with an error.
    hold
        While True, deleted pods stay.
    """

    def __init__(self, kubeconfig: pathlib.Path) -> None:
        self._kubeconfig = kubeconfig
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._stop = threading.Event()
        self.slow: set[str] = set()
        self.stuck: set[str] = set()
        self.failing: set[str] = set()
        self.slow_setups: set[str] = set()
        self.failing_setups: set[str] = set()
        self.hold = False
        self.created: list[str] = []
        self._to_restart: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop it, if it was started, and wait."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def restart(self, namespace: str, name: str) -> None:
        """Restart all containers of a pod, soon: the one that asks for it by its end has ended."""
        self._to_restart.add((namespace, name))

    def _main(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        os.environ["KUBECONFIG"] = str(self._kubeconfig)
        config = kube_config.load()
        del os.environ["KUBECONFIG"]
        pending: set[asyncio.Task[None]] = set()
        async with Client(config, timeout_seconds=10) as client:

            def changed(before: Pod | None, after: Pod | None) -> None:
                if after is None or _nodeless(after):
                    return
                if before is None:
                    self.created.append(after.metadata.name)
                task = asyncio.create_task(self._care(client, after))
                pending.add(task)
                task.add_done_callback(pending.discard)

            informer = Informer(client, _PODS.path(), Pod, changed, params={"labelSelector": names.LABEL_STATE})
            task = asyncio.create_task(informer.run())
            while not self._stop.is_set():
                await asyncio.sleep(0.05)
                while self._to_restart:
                    await self._restart(client, *self._to_restart.pop())
                if not self.hold:
                    for pod in informer:
                        if pod.metadata.deletion_timestamp is not None and not _nodeless(pod):
                            await self._care(client, pod)
            task.cancel()

    async def _care(self, client: Client, pod: Pod) -> None:
        path = _PODS.path(pod.metadata.namespace, pod.metadata.name)
        try:
            if pod.metadata.deletion_timestamp is not None:
                if not self.hold:
                    if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed"):
                        await client.merge_patch(f"{path}/status", {"status": {"phase": "Failed"}})
                    await client.request("DELETE", path, body=b'{"gracePeriodSeconds":0}',
                                         content_type="application/json")  # fmt: skip
            elif not pod.spec.node_name:
                binding = {
                    "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.metadata.name},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": "simulated"},
                }  # fmt: skip
                await client.create(f"{path}/binding", binding)
            elif pod.status.phase == "Pending" and not pod.status.container_statuses:
                full = await client.get(path)
                status = self._set_up(full) or self._status(full)
                if status != full.get("status"):
                    await client.merge_patch(f"{path}/status", {"status": status})
        except errors.TransportError:
            # The API server is away; what is still to be done is seen again.
            return
        except errors.ApiError as error:
            if error.status not in (404, 409):
                raise

    async def _restart(self, client: Client, namespace: str, name: str) -> None:
        """The containers of a pod go, and start anew in their order."""
        path = _PODS.path(namespace, name)
        try:
            before = (await client.get(path))["status"]
            for status in (_without_containers(before), _with_new_containers(before)):
                await client.merge_patch(f"{path}/status", {"status": status})
        except errors.TransportError:
            # The API server is away; what is still to be done is seen again.
            return
        except errors.ApiError as error:
            if error.status not in (404, 409):
                raise

    def _set_up(self, pod: dict[str, Any]) -> dict[str, Any] | None:
        """The status while the setup runs, or waits for its network to be closed; None when it is over."""
        names_ = [item["name"] for item in pod["spec"]["initContainers"]]
        if names.SETUP_CONTAINER not in names_:
            return None
        image = pod["spec"]["containers"][0]["image"]
        common = {"image": image, "imageID": "", "restartCount": 0, "ready": False}
        proven = {"terminated": {"exitCode": 0, "message": json.dumps(_PROOF)}}
        states: dict[str, Any] = {names.PROBE_CONTAINER: proven}
        phase = "Pending"
        if image in self.slow_setups:
            told = [item for item in pod["status"].get("initContainerStatuses", ()) if item["name"] != names_[0]]
            since = told[0]["state"]["running"]["startedAt"] if told else model.timestamp(time.time())[:19] + "Z"
            states[names.SETUP_CONTAINER] = {"running": {"startedAt": since}}
        elif image in self.failing_setups:
            states[names.SETUP_CONTAINER] = {"terminated": {"exitCode": 7, "message": "pip: no such package"}}
            phase = "Failed"
        else:
            states[names.SETUP_CONTAINER] = {"terminated": {"exitCode": 0}}
            if pod["metadata"]["labels"][names.LABEL_EGRESS] == names.EGRESS_NONE:
                return None
            states[names.CLOSED_CONTAINER] = {"waiting": {"reason": "PodInitializing"}}
        return {
            "phase": phase,
            "initContainerStatuses": [{**common, "name": name, "state": state} for name, state in states.items()],
        }

    def _status(self, pod: dict[str, Any]) -> dict[str, Any]:
        image = pod["spec"]["containers"][0]["image"]
        now = model.timestamp(time.time())
        proof, phase, ready = _PROOF, "Running", True
        state: dict[str, Any] = {"running": {"startedAt": now}}
        if image in self.stuck:
            phase, ready = "Pending", False
            state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        if image in self.slow:
            phase, ready, state = "Pending", False, {"waiting": {"reason": "ContainerCreating"}}
        if image in self.failing:
            proof = {**_PROOF, "network": "Open", "reached": ["10.96.0.1:443"]}
            phase, ready, state = "Failed", False, {"waiting": {"reason": "PodInitializing"}}
        ended = {"exitCode": int(image in self.failing), "message": json.dumps(proof), "reason": "Completed",
                 "startedAt": now, "finishedAt": now}  # fmt: skip
        common = {"image": image, "imageID": "", "restartCount": 0}
        before = [
            {**common, "name": item["name"], "containerID": f"simulated://{item['name']}-0", "ready": True,
             "state": state if item.get("restartPolicy") == "Always" else {"terminated": ended}}
            for item in pod["spec"]["initContainers"]
        ]  # fmt: skip
        main = {**common, "name": names.CONTAINER, "containerID": f"simulated://{names.CONTAINER}-0", "ready": ready}
        return {
            "phase": phase,
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [_readiness(str(ready), time.time())],
            "initContainerStatuses": before,
            "containerStatuses": [{**main, "state": state}],
        }


def _without_containers(status: dict[str, Any]) -> dict[str, Any]:
    gone = {"waiting": {"reason": "RestartingAllContainers", "message": "The container is removed"}}
    each = {
        kind: [{**_kept(item), "restartCount": item["restartCount"] + 1, "ready": False, "state": gone}
               for item in status[kind]]
        for kind in _CONTAINERS
    }  # fmt: skip
    return {**each, "phase": "Pending", "conditions": [_readiness("False", time.time())]}


def _with_new_containers(status: dict[str, Any]) -> dict[str, Any]:
    """As a kubelet tells of them: in whole seconds, and later than the ones before."""
    told = [moment for kind in _CONTAINERS for item in status[kind] for moment in _moments(item["state"])]
    now = max(time.time(), max(map(model.seconds, told)) + 1)
    each = {kind: [_started_again(item, now) for item in status[kind]] for kind in _CONTAINERS}
    return {**each, "phase": "Running", "conditions": [_readiness("True", now)]}


def _started_again(container: dict[str, Any], now: float) -> dict[str, Any]:
    count = container["restartCount"] + 1
    names_anew = {"restartCount": count, "containerID": f"simulated://{container['name']}-{count}"}
    return {**container, **names_anew, "state": _anew(container["state"], now)}


def _kept(container: dict[str, Any]) -> dict[str, Any]:
    return {key: container[key] for key in ("name", "image", "imageID")}


def _moments(state: dict[str, Any]) -> list[str]:
    return [value for one in state.values() for key, value in one.items() if key in ("startedAt", "finishedAt")]


def _anew(state: dict[str, Any], now: float) -> dict[str, Any]:
    moment = model.timestamp(now)[:19] + "Z"
    return {
        kind: {key: moment if key in ("startedAt", "finishedAt") else value for key, value in one.items()}
        for kind, one in state.items()
    }


def _readiness(status: str, now: float) -> dict[str, str]:
    return {"type": "Ready", "status": status, "lastTransitionTime": model.timestamp(now)[:19] + "Z"}


def _nodeless(pod: Pod) -> bool:
    return pod.metadata.namespace.startswith(NODELESS)
