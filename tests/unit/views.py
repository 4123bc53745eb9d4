"""Views of Sandboxes, and what is read from the steps that are decided for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.api.pool import PoolSpec
from sandyard.api.reasons import Phase, Start
from sandyard.api.sandbox import SandboxSpec
from sandyard.pod import observe
from sandyard.sandbox import expiry, phase
from sandyard.sandbox.status import Status
from sandyard.sandbox.steps import Step
from sandyard.sandbox.view import PoolFacts, SandboxView
from tests.unit import objects

CREATED = model.seconds("2026-01-01T00:01:00Z")
NOW = CREATED + 10
CLAIMED = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: "s"}
COLD = {names.LABEL_STATE: names.STATE_COLD, names.LABEL_SANDBOX_UID: "s"}
POD = objects.pod(labels=CLAIMED)
PROOF = observe.proof_of(POD)


def pool(**fields: Any) -> PoolFacts:
    return PoolFacts("python", PoolSpec.model_validate({"template": {"image": "a"}, **fields}))


PERSISTENT = pool(template={"image": "a", "workspace": {"persistent": {"size": "1Gi"}}})


def spec(**fields: Any) -> SandboxSpec:
    return SandboxSpec.model_validate({"poolRef": {"name": "python"}, **fields})


def view(**fields: Any) -> SandboxView:
    """A Sandbox that has just appeared, in a namespace with its pool."""
    given = {"now": NOW, "generation": 1, "created_at": CREATED, "spec": spec(), "pool": pool(),
             "pool_name": "python", "namespace": "ns", **fields}  # fmt: skip
    if "terms" not in given and given["pool"] is not None:
        given["terms"] = expiry.terms_of(given["pool"].spec)
    return SandboxView(**given)


def running(pod: Pod = POD, at: float = NOW - 5, **fields: Any) -> SandboxView:
    """A Sandbox that has been Ready since *at*."""
    assert PROOF is not None
    status = phase.ready(phase.Facts(1, Status(), at, "python"), pod, Start.WARM, PROOF)
    return view(**{"status": status, "pods": (pod,), **fields})


def of(kind: Phase, **fields: Any) -> Status:
    return Status(phase=kind, observed_generation=1, **fields)


def words(step: Step) -> list[type]:
    return [type(action) for action in step.actions]


def reason(step: Step) -> str:
    """Why, in the status that is written: the reason of Ready, or of Reconciling where there is no Ready."""
    assert step.status is not None
    told = step.status.told
    assert told is not None
    return str(told["reason"])


def answered(before: SandboxView, **answers: Any) -> SandboxView:
    return dataclasses.replace(before, answers=dataclasses.replace(before.answers, **answers))


def replaced(status: Status, **fields: Any) -> Status:
    return msgspec.structs.replace(status, **fields)


def annotated(**changes: Any) -> Pod:
    """A pod with annotations."""
    annotations = changes.pop("annotations", {})
    pod = objects.pod(**{"labels": CLAIMED, **changes})
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, annotations=annotations))
