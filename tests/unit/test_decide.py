"""What is decided about one Sandbox: a test for each rule, and for their order."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sandyard.api import model, names
from sandyard.api.reasons import Phase, Reason
from sandyard.api.sandbox import SandboxSpec
from sandyard.sandbox import decide, follow, phase, steps
from sandyard.sandbox.status import Status
from sandyard.sandbox.usage import Usage
from sandyard.sandbox.view import Claim, PoolFacts, Refusal, UnreadableView
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
    assert words(step) == [steps.NoteStamp]
    assert decide.decide(dataclasses.replace(used, noted_stamp=used.stamp)).reason == "ready"
    soon = dataclasses.replace(used, status=step.status, stamp=model.timestamp(NOW))
    assert decide.decide(soon).requeue_after == 4.0


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


def test_an_ended_one_stays_as_it_is() -> None:
    assert decide.decide(view(status=of(Phase.SUCCEEDED))).status is None
    step = decide.decide(view(status=of(Phase.SUCCEEDED), generation=2))
    assert step.status is not None
    assert (step.status.phase, step.status.observed_generation) == (Phase.SUCCEEDED, 2)


# Without a pod


def test_a_claim_is_tried_first_and_then_its_wait_is_told() -> None:
    claims = view()
    step = decide.decide(claims)
    assert step.actions == (steps.ClaimWarmPod(None, cold=True, wait=True),)
    assert step.again
    tried = answered(claims, claim_tried=True)
    assert decide.decide(tried).requeue_after == 0.01, "it was taken off the queue meanwhile"
    waits = dataclasses.replace(tried, claim=Claim(1.0, 2, open=True), waits=True)
    step = decide.decide(waits)
    assert reason(step) == "WaitingForPool"
    assert step.status is not None
    assert "2 ahead of it" in str(step.status.conditions[0]["message"])
    fails = dataclasses.replace(waits, pool=dataclasses.replace(pool(), failure=(Reason.IMAGE_PULL, "x")))
    assert reason(decide.decide(fails)) == "ImagePullBackOff"
    full = dataclasses.replace(waits, pool=dataclasses.replace(pool(), at_maximum=True))
    assert reason(decide.decide(full)) == "MaxSandboxesReached"
    late = dataclasses.replace(waits, claim=Claim(60.0, 2, open=True))
    assert reason(decide.decide(late)) == "PoolExhausted"


@pytest.mark.parametrize(
    ("action", "cold", "wait"), [("ColdStart", True, True), ("Wait", False, True), ("Reject", False, False)]
)
def test_a_pool_says_what_happens_when_it_is_empty(action: str, cold: bool, wait: bool) -> None:
    claims = view(pool=pool(whenEmpty={"action": action}))
    assert decide.decide(claims).actions == (steps.ClaimWarmPod(None, cold=cold, wait=wait),)
    if action == "Reject":
        assert reason(decide.decide(answered(claims, claim_tried=True))) == "PoolExhausted"


@pytest.mark.parametrize(
    ("pool_facts", "told"),
    [
        (None, "PoolNotFound"),
        (dataclasses.replace(pool(), deleting=True), "PoolNotFound"),
        (pool(paused=True), "Paused"),
    ],
)
def test_a_pool_that_gives_nothing_is_waited_for(pool_facts: PoolFacts | None, told: str) -> None:
    waits = view(pool=pool_facts)
    step = decide.decide(waits)
    assert (reason(step), words(step)) == (told, [steps.WaitForPool])
    in_queue = dataclasses.replace(waits, claim=Claim(1.0, 0, open=True), waits=True)
    assert words(decide.decide(in_queue)) == [steps.StopWaiting]
    late = view(pool=pool_facts, spec=spec(waitSeconds=5), waited_seconds=5.0)
    assert reason(decide.decide(late)) == told
    assert decide.decide(late).status is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"spec": spec(env=[{"name": "A", "value": "1"}])},
        {"spec": spec(network={"egress": "None"}),
         "pool": pool(template={"image": "a", "network": {"egress": "Internet"}}, allowedEgress=["None", "Internet"])},
        {"status": Status(workspace_claim="w"), "pool": PERSISTENT},
    ],
)  # fmt: skip
def test_what_no_warm_pod_can_be_given_is_started_cold(fields: dict[str, Any]) -> None:
    starts = view(**fields)
    assert words(decide.decide(starts)) == [steps.StartPod]
    full = decide.decide(answered(starts, no_room=True))
    assert reason(full) == "MaxSandboxesReached"
    in_queue = dataclasses.replace(starts, claim=Claim(1.0, 0, open=True), waits=True)
    assert words(decide.decide(in_queue)) == [steps.StopWaiting], (
        "it keeps the place of a claim that it no longer makes"
    )


def test_a_wider_network_comes_with_the_claim_and_a_forbidden_one_with_nothing() -> None:
    own = spec(network={"egress": "Internet"})
    step = decide.decide(view(spec=own, pool=pool(allowedEgress=["Internet"])))
    claim = step.actions[0]
    assert isinstance(claim, steps.ClaimWarmPod)
    assert claim.reach is not None
    assert claim.reach.network.egress == "Internet"
    assert reason(decide.decide(view(spec=own))) == "EgressNotAllowed"


def test_a_refused_start_is_tried_again_and_a_wrong_template_is_not() -> None:
    own = SandboxSpec.model_validate({"template": {"image": "a"}})
    starts = view(spec=own, pool=None, pool_name=None)
    assert words(decide.decide(starts)) == [steps.StartPod]
    quota = Refusal(Reason.QUOTA_EXCEEDED, "exceeded quota")
    step = decide.decide(answered(starts, start_tried=True, start_refused=quota))
    assert step.status is not None
    assert (step.status.phase, reason(step), step.requeue_after) == (Phase.PENDING, "QuotaExceeded", 5.0)
    wrong = Refusal(Reason.INVALID_TEMPLATE, "root", final=True)
    step = decide.decide(answered(starts, start_tried=True, start_refused=wrong))
    assert step.status is not None
    assert step.status.phase is Phase.FAILED
    late = dataclasses.replace(starts, waited_seconds=300.0, last_refusal=(Reason.QUOTA_EXCEEDED, "exceeded quota"))
    assert reason(decide.decide(late)) == "QuotaExceeded"
    assert decide.decide(answered(starts, start_tried=True)).status is None


def test_a_start_that_fails_costs_nobody_its_workspace() -> None:
    late = view(pool=PERSISTENT, status=Status(workspace_claim="w"), waited_seconds=300.0)
    step = decide.decide(late)
    assert step.status is not None
    assert (step.status.phase, step.status.workspace_claim) == (Phase.SUSPENDED, "w")
