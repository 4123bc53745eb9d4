"""What is decided about one Sandbox: a test for each rule, and for their order."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sandyard.api import model, names
from sandyard.api.reasons import Phase, Reason
from sandyard.sandbox import decide, follow, phase, steps
from sandyard.sandbox.status import Status
from sandyard.sandbox.usage import Usage
from sandyard.sandbox.view import Claim, UnreadableView
from tests.unit.views import (
    NOW,
    PERSISTENT,
    POD,
    annotated,
    answered,
    of,
    pool,
    reason,
    replaced,
    running,
    spec,
    view,
    words,
)


def test_the_order_of_the_rules_is_this() -> None:
    assert [rule.__name__ for rule in decide.RULES] == [
        "waits_no_more", "being_deleted", "unguarded", "over_after_finish", "used_lately", "expired", "suspended",
        "being_replaced", "stands_with_pod", "ended", "pod_lost", "needs_pod",
    ]  # fmt: skip
    assert [rule.__name__ for rule in follow.RULES] == [
        "restarted", "labels_changed", "ended", "taken_and_replaced", "main_process_ended", "deleted_by_others",
        "still_starting", "withheld", "network_to_switch", "workspace_to_adopt", "paused", "resumed",
        "not_ready", "ready",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"deleting": True},
        {"status": of(Phase.FAILED)},
        {"status": of(Phase.SUSPENDED)},
        {"spec": spec(desiredState="Suspended"), "pool": PERSISTENT},
        # A claim of the leader before took place late.
        {"pods": (POD,)},
    ],
)
def test_who_ends_goes_or_rests_gives_up_its_place_first(fields: dict[str, Any]) -> None:
    step = decide.decide(view(waits=True, claim=Claim(3.0, 0, open=True), **fields))
    assert words(step) == [steps.StopWaiting]
    assert step.again


def test_who_only_waits_keeps_its_place() -> None:
    step = decide.decide(view(waits=True, claim=Claim(3.0, 0, open=True)))
    assert steps.StopWaiting not in words(step)


@pytest.mark.parametrize(("ahead", "seconds"), [(0, 5.0), (50, 5.0), (2000, 200.0), (10_000, 297.0)])
def test_who_is_far_back_in_the_queue_looks_less_often_and_in_time_for_its_end(ahead: int, seconds: float) -> None:
    patient = view(claim=Claim(3.0, ahead, open=True), spec=spec(waitSeconds=300))
    step = decide.decide(answered(patient, claim_tried=True))
    assert (step.reason, step.requeue_after) == ("waits", seconds)


def test_what_is_deleted_is_torn_down_whatever_else_there_is_to_do() -> None:
    for seen in (
        running(deleting=True),
        view(deleting=True, guarded=False),
        view(deleting=True, status=of(Phase.FAILED)),
    ):
        assert words(decide.decide(seen)) == [steps.TearDown]
    assert words(decide.decide(UnreadableView(NOW, 1, deleting=True, invalid="x"))) == [steps.TearDown]


def test_nothing_is_done_before_the_finalizer_is_on() -> None:
    step = decide.decide(view(guarded=False))
    assert words(step) == [steps.AddFinalizer]
    assert step.again


def test_one_that_cannot_be_read_is_told_why() -> None:
    step = decide.decide(UnreadableView(NOW, 3, invalid="spec.env: no list"))
    assert step.status is not None
    assert (step.status.phase, reason(step), step.status.observed_generation) == (Phase.FAILED, "InvalidSpec", 3)


def test_an_ended_one_is_deleted_when_its_time_after_the_end_is_over() -> None:
    status = phase.failed(phase.Facts(1, Status(), NOW - 60), Reason.ERROR, "x")
    own = spec(lifetime={"secondsAfterFinished": 60})
    assert words(decide.decide(view(status=status, spec=own))) == [steps.DeleteSandbox]
    early = view(status=status, spec=own, now=NOW - 1)
    assert words(decide.decide(early)) == []
    assert decide.wake_at(early) == NOW


def test_a_stamp_is_written_once_and_not_too_often() -> None:
    own = spec(lifetime={"idleSeconds": 60})
    used = running(spec=own, stamp=model.timestamp(NOW - 1))
    step = decide.decide(used)
    assert step.status is not None
    assert step.status.active_seconds == NOW - 1
    assert step.status.expires_at == model.timestamp(NOW + 59)
    assert words(step) == [steps.NoteStamp]
    assert decide.decide(dataclasses.replace(used, noted_stamp=used.stamp)).reason == "ready"
    soon = dataclasses.replace(used, status=step.status, stamp=model.timestamp(NOW))
    step = decide.decide(soon)
    assert (step.reason, step.requeue_after) == ("ready", 4.0)


@pytest.mark.parametrize("idle_seconds", [5, 10])
def test_one_that_may_be_idle_for_seconds_is_not_ended_before_its_use_is_written(idle_seconds: int) -> None:
    used = running(spec=spec(lifetime={"idleSeconds": idle_seconds}), stamp=model.timestamp(NOW))
    used = dataclasses.replace(used, status=replaced(used.status, last_activity_at=model.timestamp(NOW - 1)))
    step = decide.decide(used)
    assert step.status is not None
    assert step.status.active_seconds == NOW


def test_use_that_is_written_later_puts_nothing_off() -> None:
    used = running(spec=spec(lifetime={"idleSeconds": 60}), stamp=model.timestamp(NOW))
    used = dataclasses.replace(used, status=replaced(used.status, last_activity_at=model.timestamp(NOW - 1)), pods=())
    assert decide.decide(answered(used, pod_seen=True)).requeue_after == 0.2


def test_a_lifetime_that_is_over_deletes_or_ends() -> None:
    over = running(at=NOW - 60, spec=spec(lifetime={"seconds": 60}))
    assert words(decide.decide(over)) == [steps.DeleteSandbox]
    stops = decide.decide(running(at=NOW - 60, spec=spec(lifetime={"seconds": 60, "onExpiry": "Stop"})))
    assert stops.status is not None
    assert (stops.status.phase, words(stops)) == (Phase.EXPIRED, [])
    early = running(at=NOW - 59, spec=spec(lifetime={"seconds": 60}))
    assert words(decide.decide(early)) == []
    assert decide.wake_at(early) == NOW + 1


def test_an_idle_one_is_asked_for_its_cpu_use_before_it_expires() -> None:
    idle = running(at=NOW - 60, spec=spec(lifetime={"idleSeconds": 60}))
    assert words(decide.decide(idle)) == [steps.AskCpuUse]
    assert words(decide.decide(answered(idle, cpu_asked=True))) == [steps.DeleteSandbox]
    assert words(decide.decide(answered(idle, cpu_asked=True, cpu=Usage(0.0, NOW)))) == [steps.DeleteSandbox]
    busy = decide.decide(answered(idle, cpu_asked=True, cpu=Usage(1.0, NOW - 1)))
    assert busy.status is not None
    assert (busy.status.activity_source, busy.status.active_seconds, busy.again) == ("CPU", NOW - 1, True)


def test_a_metrics_api_that_fails_for_a_moment_lets_nobody_expire() -> None:
    idle = running(at=NOW - 60, spec=spec(lifetime={"idleSeconds": 60}))
    unknown = answered(idle, cpu_asked=True, cpu_unknown=True)
    assert decide.decide(unknown).requeue_after == 5.0
    assert words(decide.decide(dataclasses.replace(unknown, now=NOW + 60))) == [steps.DeleteSandbox]


def test_cpu_use_of_before_its_last_activity_keeps_nobody_alive() -> None:
    """The metrics API shows what it measured a while ago, and may go on to."""
    idle = running(at=NOW - 60, spec=spec(lifetime={"idleSeconds": 60}))
    idle = dataclasses.replace(idle, status=replaced(idle.status, last_activity_at=model.timestamp(NOW - 60)))
    for at in (NOW - 61, NOW - 60):
        assert words(decide.decide(answered(idle, cpu_asked=True, cpu=Usage(1.0, at)))) == [steps.DeleteSandbox]


def test_one_that_is_paused_expires_without_being_asked_for_its_cpu_use() -> None:
    idle = running(at=NOW - 60, spec=spec(lifetime={"idleSeconds": 60}, desiredState="Paused"))
    paused = dataclasses.replace(idle, status=phase.paused(idle.facts(), POD, 3))
    assert words(decide.decide(paused)) == [steps.DeleteSandbox]


def test_one_whose_time_is_over_is_suspended_where_that_is_asked_for() -> None:
    lifetime = {"seconds": 60, "onExpiry": "Suspend"}
    over = running(at=NOW - 60, spec=spec(lifetime=lifetime), pool=PERSISTENT)
    assert words(decide.decide(over)) == [steps.DeletePod]
    gone = decide.decide(answered(dataclasses.replace(over, pods=()), unseen_pod=False))
    assert gone.status is not None
    assert (gone.status.phase, reason(gone)) == (Phase.SUSPENDED, "Expired")
    nothing_kept = decide.decide(running(at=NOW - 60, spec=spec(lifetime=lifetime)))
    assert nothing_kept.status is not None
    assert nothing_kept.status.phase is Phase.EXPIRED


def test_a_suspended_one_resumes_when_its_old_pod_is_gone() -> None:
    facts = phase.Facts(1, Status(workspace_claim="w"), NOW - 10)
    rests = view(pool=PERSISTENT, status=phase.suspended(facts, Reason.SUSPENDED, "as asked for"), pods=(POD,))
    step = decide.decide(rests)
    assert (words(step), step.status) == ([steps.DeletePod], None)


@pytest.mark.parametrize("wanted", ["Suspended", "Running"])
def test_one_that_has_rested_for_long_has_not_been_idle(wanted: str) -> None:
    """Neither while it rests nor when it is to resume: it had no means to be active."""
    own = spec(lifetime={"idleSeconds": 60}, desiredState=wanted)
    before = running(at=NOW - 1000, pool=PERSISTENT).status
    facts = phase.Facts(1, replaced(before, workspace_claim="w"), NOW - 500)
    rests = view(pool=PERSISTENT, spec=own, status=phase.suspended(facts, Reason.SUSPENDED, "as asked for"))
    step = decide.decide(answered(rests, unseen_pod=False))
    assert steps.DeleteSandbox not in words(step)
    assert step.status is not None
    assert step.status.phase is (Phase.STARTING if wanted == "Running" else Phase.SUSPENDED)


def test_one_that_is_to_rest_is_not_ended_because_it_was_idle() -> None:
    own = spec(lifetime={"idleSeconds": 60, "onExpiry": "Stop"}, desiredState="Suspended")
    idle = running(at=NOW - 60, spec=own, pool=PERSISTENT)
    assert words(decide.decide(idle)) == [steps.DeletePod]


def test_who_is_to_rest_keeps_its_workspace_before_its_pod_goes() -> None:
    template = {"image": "a", "workspace": {"persistent": {"size": "1Gi"}}}
    pod = annotated(annotations={names.ANNOTATION_WORKSPACE: "w"})
    rests = running(pod, pool=pool(template=template), spec=spec(desiredState="Suspended"))
    assert words(decide.decide(rests)) == [steps.AdoptWorkspace]
    kept = dataclasses.replace(rests, status=replaced(rests.status, workspace_claim="w"))
    step = decide.decide(kept)
    assert (reason(step), words(step)) == ("Suspending", [steps.DeletePod])
    empty = dataclasses.replace(kept, pods=())
    assert words(decide.decide(empty)) == [steps.LookForUnseenPod]
    assert decide.decide(answered(empty, unseen_pod=True)).requeue_after
    done = decide.decide(answered(empty, unseen_pod=False)).status
    assert done is not None
    assert (done.phase, done.pod_uid, done.workspace_claim) == (Phase.SUSPENDED, None, "w")


def test_a_suspended_one_resumes_but_not_at_once_after_it_failed_to() -> None:
    facts = phase.Facts(1, Status(workspace_claim="w", restarts=1), NOW - 10)
    rests = view(pool=PERSISTENT, status=phase.suspended(facts, Reason.SUSPENDED, "as asked for"))
    step = decide.decide(rests)
    assert step.status is not None
    assert (step.status.phase, step.status.restarts) == (Phase.STARTING, 2)
    assert words(step) == [steps.RestartClock]
    failed = view(pool=PERSISTENT, status=phase.suspended(facts, Reason.START_TIMEOUT, "x", stalled=True), pods=(POD,))
    step = decide.decide(failed)
    assert (words(step), step.requeue_after, step.status) == ([steps.DeletePod], 50.0, None)


def test_a_pod_that_is_nowhere_in_sight_is_looked_up_before_it_is_called_lost() -> None:
    lost = dataclasses.replace(running(), pods=())
    assert words(decide.decide(lost)) == [steps.LookUpPod]
    assert decide.decide(answered(lost, pod_seen=True)).status is None
    assert reason(decide.decide(answered(lost, pod_seen=False))) == "PodLost"


def test_use_is_not_written_where_nobody_asks_for_it() -> None:
    used = running(spec=spec(lifetime={"seconds": 600}), stamp=model.timestamp(NOW - 1))
    assert decide.decide(used).reason == "ready"


@pytest.mark.parametrize("wanted", ["Suspended", "Running", "Paused"])
def test_an_ended_one_is_neither_suspended_nor_resumed(wanted: str) -> None:
    for kind in (Phase.FAILED, Phase.SUCCEEDED, Phase.EXPIRED):
        status = of(kind, ready_at=model.timestamp(NOW - 5), workspace_claim="w")
        seen = view(status=status, spec=spec(desiredState=wanted), pool=PERSISTENT)
        step = decide.decide(seen)
        assert (step.status, words(step)) == (None, [])


def test_an_ended_one_stays_as_it_is() -> None:
    assert decide.decide(view(status=of(Phase.SUCCEEDED))).status is None
    step = decide.decide(view(status=of(Phase.SUCCEEDED), generation=2))
    assert step.status is not None
    assert (step.status.phase, step.status.observed_generation) == (Phase.SUCCEEDED, 2)
