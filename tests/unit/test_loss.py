"""What follows when a Sandbox's pod is lost: an end, or a fresh pod, never two at once and not for ever."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.api.reasons import Condition, Phase, Reason, Start
from sandyard.sandbox import decide, loss, phase, steps
from sandyard.sandbox.status import Status
from sandyard.sandbox.view import SandboxView
from tests.unit import objects
from tests.unit.views import (
    CLAIMED,
    NOW,
    PERSISTENT,
    POD,
    PROOF,
    answered,
    pool,
    reason,
    replaced,
    running,
    spec,
    view,
    words,
)

REPLACES = spec(onLost="Replace")
DRAINED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
KILLED = [{"name": names.CONTAINER, "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}]
GOING = objects.pod(labels=CLAIMED, deletion="2026-01-01T00:01:05Z")
EVICTED = objects.pod(labels=CLAIMED, phase="Failed", reason="Evicted", told="no disk", containers=KILLED)
SHUT_DOWN = objects.pod(labels=CLAIMED, phase="Failed", reason="Terminated", conditions=DRAINED, containers=KILLED)
LOST = {
    "somebody deletes it": GOING,
    "it was evicted": EVICTED,
    "its node shuts down": SHUT_DOWN,
    "it was drained, and seen when it had ended": objects.pod(
        labels=CLAIMED, deletion="2026-01-01T00:01:05Z", phase="Failed", conditions=DRAINED, containers=KILLED
    ),
}


def lost(pod: Pod | None = GOING, **fields: Any) -> SandboxView:
    """A Sandbox whose pod is lost: *pod* shows how; None: it is gone."""
    if pod is None:
        return answered(dataclasses.replace(running(spec=REPLACES, **fields), pods=()), pod_seen=False)
    return running(pod, **{"spec": REPLACES, **fields})


def after(seen: SandboxView, **fields: Any) -> SandboxView:
    """The same, once what was decided has been written."""
    status = decide.decide(seen).status
    assert status is not None
    return dataclasses.replace(seen, status=status, **fields)


@pytest.mark.parametrize("pod", [*LOST.values(), None], ids=[*LOST, "it is gone"])
def test_a_fresh_pod_takes_the_place_of_a_lost_one_where_that_is_asked_for(pod: Pod | None) -> None:
    step = decide.decide(lost(pod))
    assert step.status is not None and step.event is not None
    assert (step.status.phase, step.status.restarts, step.status.replacements) == (Phase.STARTING, 1, 1)
    assert not {"podName", "podUID", "podIP", "claimedAt"} & step.status.dump().keys()
    assert "a fresh pod takes its place (1 of 5)" in step.event[1]
    told = step.status.condition(Condition.STATE_LOST)
    assert told is not None and told["status"] == "True" and "files are lost" in told["message"]
    assert step.status.ready_at == running().status.ready_at, "its lifetime goes on"


@pytest.mark.parametrize("pod", [*LOST.values(), None], ids=[*LOST, "it is gone"])
def test_it_fails_as_ever_where_nothing_else_is_asked_for(pod: Pod | None) -> None:
    for own, of_pool in ((spec(), pool()), (spec(onLost="Fail"), pool(onLost="Replace"))):
        step = decide.decide(dataclasses.replace(lost(pod), spec=own, pool=of_pool))
        assert step.status is not None and step.status.phase is Phase.FAILED
        assert step.status.condition(Condition.STATE_LOST) is None


def test_the_pool_says_it_for_those_who_do_not() -> None:
    assert decide.decide(lost(spec=spec(), pool=pool(onLost="Replace"))).status.phase is Phase.STARTING  # type: ignore[union-attr]


@pytest.mark.parametrize("code", [0, 3, 137])
def test_what_ends_by_itself_is_not_started_again(code: int) -> None:
    ended = [{"name": names.CONTAINER, "state": {"terminated": {"exitCode": code, "reason": "OOMKilled"}}}]
    kind = "Failed" if code else "Succeeded"
    step = decide.decide(lost(objects.pod(labels=CLAIMED, phase=kind, containers=ended)))
    assert step.status is not None and step.status.ended
    # Neither when somebody deletes its pod meanwhile, nor afterwards.
    well = [{"name": names.CONTAINER, "state": {"terminated": {"exitCode": 0}}}]
    deleted = objects.pod(labels=CLAIMED, phase="Succeeded", deletion="2026-01-01T00:01:05Z", containers=well)
    gone = decide.decide(lost(deleted))
    assert gone.status is not None and gone.status.phase is Phase.SUCCEEDED


def test_the_fresh_pod_waits_until_the_lost_one_is_gone() -> None:
    """On a silent node it may run on: two at once would both be the Sandbox."""
    waits = after(lost(EVICTED))
    step = decide.decide(waits)
    assert (words(step), step.status, step.again) == ([steps.DeletePod], None, False)
    assert decide.decide(after(lost(GOING))).status is None
    gone = dataclasses.replace(waits, pods=())
    step = decide.decide(gone)
    assert (words(step), reason(step)) == ([steps.RestartClock], "Starting")
    assert words(decide.decide(after(gone))) == [steps.ClaimWarmPod]


def test_it_is_ready_again_in_the_fresh_pod_and_says_what_it_has_lost() -> None:
    fresh = objects.pod("p2", labels=CLAIMED)
    waits = dataclasses.replace(after(lost(GOING)), pods=())
    step = decide.decide(after(waits, pods=(fresh,)))
    assert step.status is not None and step.event is not None
    assert (step.status.phase, step.status.pod_uid, step.status.restarts) == (Phase.READY, "p2", 1)
    told = step.status.condition(Condition.STATE_LOST)
    assert told is not None and told["status"] == "True"
    assert step.event[1] == "in a new pod, name-p2, without anything of the one before"


def test_a_persistent_workspace_outlives_the_pod() -> None:
    before = lost(GOING, pool=PERSISTENT)
    before = dataclasses.replace(before, status=replaced(before.status, workspace_claim="w"))
    status = decide.decide(before).status
    assert status is not None and status.workspace_claim == "w"
    assert "but for its workspace" in status.condition(Condition.STATE_LOST)["message"]  # type: ignore[index]


def again(status: Status, at: float) -> tuple[Status | None, float]:
    """What is decided when the pod of *status* is lost *at*, and the pause before the next one."""
    assert PROOF is not None
    used = phase.ready(phase.Facts(1, status, at, "python"), POD, Start.WARM, PROOF)
    seen = view(status=used, pods=(GOING,), spec=REPLACES, now=at)
    found = decide.decide(seen).status
    if found is None or found.ended:
        return found, 0.0
    return found, decide.decide(dataclasses.replace(seen, status=found, pods=())).requeue_after or 0.0


def test_what_loses_pods_again_and_again_gets_them_ever_more_rarely_and_then_no_more() -> None:
    status, pauses = running().status, []
    for _ in range(loss.MOST_REPLACEMENTS):
        found, pause = again(status, NOW)
        assert found is not None and not found.ended
        status = found
        pauses.append(pause)
    assert pauses == [0, 10, 20, 40, 80]
    last, _ = again(status, NOW)
    assert last is not None and last.phase is Phase.FAILED
    assert "5 pods before it were lost as well" in last.condition(Condition.FINISHED)["message"]  # type: ignore[index]


def test_pods_that_last_are_replaced_as_often_as_they_are_lost() -> None:
    status = running().status
    for number in range(1, 2 * loss.MOST_REPLACEMENTS):
        seen = lost(GOING, now=NOW + number * 700.0)
        status = replaced(status, claimed_at=model.timestamp(seen.now - 650), pod_uid="p1", phase=Phase.READY)
        found = decide.decide(dataclasses.replace(seen, status=status)).status
        assert found is not None and (found.replacements, found.restarts) == (1, number)
        status = found


def test_who_is_deleted_or_expires_meanwhile_gets_no_fresh_pod() -> None:
    waits = dataclasses.replace(after(lost(GOING)), pods=())
    assert words(decide.decide(dataclasses.replace(waits, deleting=True))) == [steps.TearDown]
    late = dataclasses.replace(waits, spec=spec(onLost="Replace", lifetime={"seconds": 1}), now=NOW + 60)
    assert words(decide.decide(late)) == [steps.DeleteSandbox]


def test_a_restart_that_nobody_asked_for_is_no_loss_to_replace() -> None:
    status = [{"name": names.CONTAINER, "restartCount": 1, "state": {"running": {}}}]
    step = decide.decide(lost(objects.pod(labels=CLAIMED, containers=status)))
    assert reason(step) == Reason.POD_RESTARTED
