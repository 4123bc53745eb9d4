"""Looks at every change at the simulated API server, and knows who made it: what the operator must never do.

A promise that breaks is reported at the write that breaks it, not some steps later.
"""

from __future__ import annotations

import datetime
from collections import Counter
from typing import TYPE_CHECKING, Any

from sandyard.api import names

if TYPE_CHECKING:
    from tests.unit.simulated_api import ApiServer

__all__ = ["Witness", "condition"]

_ENDED = ("Failed", "Succeeded", "Expired")
# Times in objects are whole seconds.
_ROUNDING_SECONDS = 1.0


class Witness:
    """What others have done to pods and asked of Sandboxes, against what the operator makes of it.

    Attributes
    ----------
    broken
        Promises that were broken.
    hurt
        Pods that others have deleted, or that have failed or ended.
    ended
        How Sandboxes ended: phase and reason.
    forbidden
        Reasons by which Sandboxes may end at once: they ask for what they may not have.
    most_seconds
        How long every Sandbox may live, if there is a limit.
    """

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.broken: list[str] = []
        self.owners: dict[str, str] = {}
        self.hurt: set[str] = set()
        self.ended: Counter[tuple[str, str]] = Counter()
        self.forbidden: set[str] = set()
        self.most_seconds: int | None = None
        self._unwell: set[str] = set()
        # Since when a Sandbox waits, and for what; whether it was ever asked to be other than Running.
        self._since: dict[str, float] = {}
        self._patience: dict[str, float] = {}
        self._disturbed: set[str] = set()
        self._pool_patience = float("inf")
        self._rejecting = False

    def breaks(self, promise: str) -> None:
        """Report *promise*, here and to the test."""
        self.broken.append(promise)
        raise AssertionError(promise)

    # What the API server reports

    def made(self, resource: str, body: dict[str, Any]) -> None:
        """An object was created."""
        uid = body["metadata"]["uid"]
        if resource == "pods":
            owner = body["metadata"]["labels"].get(names.LABEL_SANDBOX_UID)
            if owner is not None:
                self.owners[uid] = owner
        elif resource == names.SANDBOXES:
            self._since[uid] = self._server.now()
            self._patience[uid] = float(body["spec"].get("waitSeconds") or "inf")
        elif resource == names.POOLS:
            self._pool(body)

    def changed(self, resource: str, before: dict[str, Any], after: dict[str, Any], by: str) -> None:
        """An object was changed by the operator or by others."""
        if resource == "pods":
            self._pod(before, after, by)
        elif resource == names.POOLS:
            self._pool(after)
        elif resource == names.SANDBOXES:
            uid = after["metadata"]["uid"]
            if by != "operator":
                if after["spec"].get("desiredState", "Running") != "Running":
                    self._disturbed.add(uid)
            elif after["status"] != before["status"]:
                self._status(before, after)

    def deleted(self, resource: str, body: dict[str, Any], by: str) -> None:
        """An object is asked to go."""
        if by != "operator":
            if resource == "pods":
                self.hurt.add(body["metadata"]["uid"])
            return
        if resource == "pods":
            self._pod_deleted(body)
        elif resource == names.SANDBOXES and not (self._time_is_over(body) or self._finished_long_ago(body)):
            self.breaks(f"a Sandbox was deleted whose time was not over: {body}")

    # What is to be said of it

    def _pool(self, pool: dict[str, Any]) -> None:
        spec = pool["spec"]
        when_empty = spec.get("whenEmpty") or {}
        self._rejecting |= when_empty.get("action") == "Reject"
        startup = (spec.get("startup") or {}).get("timeoutSeconds", 300)
        setup = (spec["template"].get("setup") or {}).get("timeoutSeconds", startup)
        self._pool_patience = min(self._pool_patience, when_empty.get("waitSeconds", 60), startup, setup)

    def _pod(self, before: dict[str, Any], after: dict[str, Any], by: str) -> None:
        """A pod belongs to one Sandbox, from its claim to its end, or until it is given back clean."""
        uid = after["metadata"]["uid"]
        was = (before["metadata"].get("labels") or {}).get(names.LABEL_SANDBOX_UID)
        owner = (after["metadata"].get("labels") or {}).get(names.LABEL_SANDBOX_UID)
        if after["status"].get("phase") in ("Failed", "Succeeded"):
            self.hurt.add(uid)
        ready = condition(after, "Ready")
        if ready and ready["status"] != "True":
            self._unwell.add(uid)
        if by != "operator":
            return
        if was is not None and owner is None:
            self._given_back(uid, was)
        elif owner is not None and self.owners.setdefault(uid, owner) != owner:
            self.breaks("a pod was handed out twice")
        if was is None and owner is not None:
            if "deletionTimestamp" in after["metadata"]:
                self.breaks("a pod that is going was handed out")
            if uid in self.hurt:
                self.breaks("a pod that has failed was handed out")

    def _given_back(self, pod_uid: str, owner: str) -> None:
        sandbox = self._sandbox(owner)
        if sandbox is None or "deletionTimestamp" not in sandbox["metadata"]:
            self.breaks("a pod was taken from a Sandbox that is not being deleted")
        del self.owners[pod_uid]

    def _pod_deleted(self, pod: dict[str, Any]) -> None:
        """Nobody takes the pod of a Sandbox that is healthy."""
        uid = pod["metadata"]["uid"]
        sandbox = self._sandbox(pod["metadata"]["labels"].get(names.LABEL_SANDBOX_UID))
        if sandbox is None or "deletionTimestamp" in sandbox["metadata"] or uid in self.hurt:
            return
        mine = sandbox["status"].get("podUID") == uid
        ready = condition(sandbox, "Ready") or condition(sandbox, "Reconciling") or {}
        # One that is being suspended says so before its pod goes, though its phase stays for now.
        healthy = ready.get("status") == "True" or ready.get("reason") == "Paused"
        if mine and healthy and not self._may_rest(sandbox):
            self.breaks(f"the operator deletes the pod of a healthy Sandbox: {sandbox['metadata']['name']}")

    def _status(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """A Sandbox that is Ready stays so, and one that ends has a reason."""
        uid, phase = after["metadata"]["uid"], after["status"].get("phase")
        if before["status"].get("phase") == "Suspended" != phase:
            # It starts once more, and has all the time that a start may take.
            self._since[uid] = self._server.now()
        if before["status"].get("phase") in _ENDED and phase not in (before["status"]["phase"], "Terminating"):
            self.breaks(f"{after['metadata']['name']} had ended and comes back as {phase}")
        if phase in _ENDED and before["status"].get("phase") != phase:
            reason = (condition(after, "Ready") or condition(after, "Reconciling") or {}).get("reason", "")
            self.ended[phase, reason] += 1
            if not self._may_end(after, reason):
                self.breaks(f"{after['metadata']['name']} has ended without a reason, as {phase}/{reason}: {after}")
        was, now = condition(before, "Ready"), condition(after, "Ready")
        lost = was is not None and was["status"] == "True" and (now is None or now["status"] != "True")
        if lost and "deletionTimestamp" not in after["metadata"]:
            pod = before["status"].get("podUID")
            if not (uid in self._disturbed or pod in self.hurt or pod in self._unwell or self._time_is_over(after)):
                self.breaks(f"a healthy Sandbox was harmed: {after}")

    def _may_end(self, sandbox: dict[str, Any], reason: str) -> bool:
        uid = sandbox["metadata"]["uid"]
        if any(owner == uid and pod in self.hurt for pod, owner in self.owners.items()):
            return True
        if sandbox["status"]["phase"] == "Expired":
            return self._time_is_over(sandbox)
        if reason in self.forbidden:
            return True
        if reason in ("PoolExhausted", "ForeignNetworkPolicy") and self._rejecting:
            return True
        patience = min(self._patience[uid], self._pool_patience)
        return reason != "PodLost" and self._server.now() - self._since[uid] >= patience - _ROUNDING_SECONDS

    def _may_rest(self, sandbox: dict[str, Any]) -> bool:
        wanted = sandbox["spec"].get("desiredState", "Running")
        return wanted == "Suspended" or self._time_is_over(sandbox)

    def _time_is_over(self, sandbox: dict[str, Any]) -> bool:
        lifetime = sandbox["spec"].get("lifetime") or {}
        ends = [_seconds(lifetime["deadline"])] if "deadline" in lifetime else []
        seconds = [limit for limit in (lifetime.get("seconds"), self.most_seconds) if limit is not None]
        if sandbox["status"].get("readyAt"):
            ends += [_seconds(sandbox["status"]["readyAt"]) + limit for limit in seconds]
        return any(self._server.now() >= end - _ROUNDING_SECONDS for end in ends)

    def _finished_long_ago(self, sandbox: dict[str, Any]) -> bool:
        return "secondsAfterFinished" in (sandbox["spec"].get("lifetime") or {}) and (
            sandbox["status"].get("phase") in _ENDED
        )

    def _sandbox(self, uid: str | None) -> dict[str, Any] | None:
        return next((body for body in self._server.all(names.SANDBOXES) if body["metadata"]["uid"] == uid), None)


def condition(body: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """The condition of that type in the status of *body*."""
    return next((c for c in body["status"].get("conditions") or () if c["type"] == kind), None)


def _seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
