"""What is decided about a Sandbox that has a pod: a test for each rule."""

from __future__ import annotations

import dataclasses

import pytest

from sandyard.api import model, names
from sandyard.api.reasons import Condition, Phase, Reason, Start
from sandyard.podspec.foreign import Exposure
from sandyard.sandbox import decide, expiry, freeze, phase, steps
from sandyard.sandbox.steps import Step
from sandyard.sandbox.view import Answers
from tests.unit import objects
from tests.unit.views import (
    CLAIMED,
    COLD,
    CREATED,
    NOW,
    POD,
    annotated,
    answered,
    of,
    pool,
    reason,
    running,
    spec,
    view,
    words,
)


def test_of_two_pods_the_surplus_one_goes() -> None:
    step = decide.decide(running(pods=(POD, objects.pod("p2", labels=CLAIMED))))
    assert [action.pod.metadata.uid for action in step.actions if isinstance(action, steps.DeletePod)] == ["p2"]


def test_the_pod_of_an_ended_one_goes_once_nobody_can_use_it() -> None:
    used = of(Phase.FAILED, ready_at=model.timestamp(NOW - 5))
    assert words(decide.decide(view(status=used, pods=(POD,)))) == []
    for status in (of(Phase.FAILED), of(Phase.EXPIRED, ready_at=model.timestamp(NOW - 5))):
        assert words(decide.decide(view(status=status, pods=(POD,)))) == [steps.DeletePod]


def test_a_main_process_that_has_ended_ends_the_sandbox() -> None:
    containers = [{"name": names.CONTAINER, "state": {"terminated": {"exitCode": 0}}}]
    step = decide.decide(running(objects.pod(labels=CLAIMED, containers=containers)))
    assert step.status is not None
    assert step.status.phase is Phase.SUCCEEDED


def test_the_event_of_an_end_says_what_is_known_of_it() -> None:
    exited = [{"name": names.CONTAINER, "state": {"terminated": {"exitCode": 3}}}]
    for pod, told in (
        (objects.pod(labels=CLAIMED, containers=exited), "Error, exit code 3"),
        (objects.pod(labels=CLAIMED, phase="Failed", reason="Evicted", told="no disk"), "Evicted: no disk"),
        (objects.pod(labels=CLAIMED, phase="Failed", reason="Evicted"), "Evicted"),
    ):
        event = decide.decide(running(pod)).event
        assert event is not None and event[1] == told


def test_a_pod_that_others_delete_is_lost() -> None:
    going = objects.pod(labels=CLAIMED, deletion="2026-01-01T00:01:05Z")
    assert reason(decide.decide(running(going))) == "PodLost"


def test_a_start_that_hangs_says_why_and_ends_when_its_time_is_over() -> None:
    pod = objects.pod(labels=COLD, ready=False, message="", created="2026-01-01T00:01:00Z", phase="Pending")
    starts = view(pods=(pod,))
    step = decide.decide(starts)
    assert (reason(step), words(step)) == ("Starting", [steps.ResyncKubelet])
    late = dataclasses.replace(starts, now=CREATED + starts.start_patience_seconds)
    ends = decide.decide(late)
    assert reason(ends) == "StartTimeout"
    assert ends.status is not None and ends.status.pod_name == pod.metadata.name


@pytest.mark.parametrize(("of_pool", "of_all"), [(60, 0), (None, 60), (60, 90), (90, 60)])
def test_what_runs_and_is_never_ready_has_no_longer_than_the_longest_lifetime(of_pool: int | None, of_all: int) -> None:
    """Its own variables may keep a probe from ever succeeding, and it says itself how long it waits."""
    runs = [{"name": names.CONTAINER, "state": {"running": {"startedAt": "2026-01-01T00:01:10Z"}}}]
    pod = objects.pod(labels=COLD, ready=False, created="2026-01-01T00:01:00Z", containers=runs)
    terms = expiry.Terms(max_seconds=of_pool, most_seconds=of_all)
    starts = dataclasses.replace(view(pods=(pod,), spec=spec(waitSeconds=86400)), terms=terms)
    step = decide.decide(dataclasses.replace(starts, now=CREATED + 10 + 59))
    assert reason(step) == "Starting" and step.requeue_after is not None and step.requeue_after <= 1
    ends = decide.decide(dataclasses.replace(starts, now=CREATED + 10 + 60))
    assert reason(ends) == "StartTimeout"
    unbound = dataclasses.replace(starts, terms=expiry.Terms(), now=CREATED + 10 + 60)
    assert reason(decide.decide(unbound)) == "Starting"


def test_a_setup_s_network_is_closed_once_it_has_ended_and_late_ones_fail() -> None:
    template = {"image": "a", "setup": {"command": ["x"], "timeoutSeconds": 30}}
    ended = [{"name": names.SETUP_CONTAINER, "state": {"terminated": {"exitCode": 0}}}]
    pod = annotated(labels=COLD, ready=False, init=ended, annotations={names.ANNOTATION_SETUP: names.SETUP_OPEN})
    starts = view(pool=pool(template=template), pods=(pod,))
    assert words(decide.decide(starts)) == [steps.CloseSetupNetwork]
    runs = [{"name": names.SETUP_CONTAINER, "state": {"running": {"startedAt": "2026-01-01T00:01:00Z"}}}]
    pod = annotated(labels=COLD, ready=False, init=runs, created="2026-01-01T00:01:00Z")
    starts = view(pool=pool(template=template), pods=(pod,))
    assert decide.decide(starts).requeue_after == 20.0
    assert reason(decide.decide(dataclasses.replace(starts, now=CREATED + 30))) == "SetupFailed"


def test_a_cold_pod_is_opened_before_its_sandbox_is_ready() -> None:
    template = {"image": "a", "network": {"egress": "Internet"}}
    starts = view(pool=pool(template=template), pods=(objects.pod(labels=COLD),))
    step = decide.decide(starts)
    assert words(step) == [steps.SwitchNetwork]
    assert reason(decide.decide(answered(starts, switched_generation=1))) == "Ready"


def test_a_running_one_is_switched_only_when_its_own_network_has_changed() -> None:
    own = spec(network={"egress": "Internet"})
    allowed = pool(allowedEgress=["None", "Internet"])
    assert words(decide.decide(running(spec=own, pool=allowed))) == []
    assert words(decide.decide(running(spec=own, pool=allowed, generation=2))) == [steps.SwitchNetwork]
    refused = decide.decide(running(spec=own, generation=2))
    assert words(refused) == []
    assert refused.status is not None
    stalled = refused.status.condition(Condition.STALLED)
    assert stalled is not None
    assert stalled["reason"] == "EgressNotAllowed"


def test_a_pod_that_others_open_is_handed_out_once_that_is_gone_or_never() -> None:
    opened = Exposure(("allow-all",), withholds=True)
    starts = view(pods=(objects.pod(labels=COLD),), exposure=opened)
    step = decide.decide(starts)
    assert (reason(step), step.requeue_after) == ("ForeignNetworkPolicy", starts.start_patience_seconds)
    late = decide.decide(dataclasses.replace(starts, waited_seconds=starts.start_patience_seconds))
    assert late.status is not None
    assert (late.status.phase, reason(late)) == (Phase.FAILED, "ForeignNetworkPolicy")
    # Whoever has it already keeps it.
    assert decide.decide(running(exposure=opened)).reason == "ready"


def test_a_pod_that_is_ready_and_not_proven_is_nobodys() -> None:
    step = decide.decide(view(pods=(objects.pod(labels=COLD, init=[]),), now=CREATED))
    assert step.status is None or step.status.phase is not Phase.READY


def test_one_whose_processes_could_not_be_continued_says_so_and_tries_again() -> None:
    before = running()
    held = dataclasses.replace(before, status=phase.pausing(before.facts(), POD, Reason.PAUSING, "x"))
    step = decide.decide(answered(held, frozen=False, report=freeze.Report(False, why="no shell")))
    assert (reason(step), step.requeue_after) == ("PauseFailed", 5.0)


def test_it_is_paused_only_when_every_process_was_seen_to_stand_still() -> None:
    wants = running(spec=spec(desiredState="Paused"), generation=2)
    step = decide.decide(wants)
    assert (reason(step), words(step)) == ("Pausing", [steps.Freeze])
    step = decide.decide(answered(wants, frozen=True, report=freeze.Report(True, 3)))
    assert step.status is not None
    assert step.status.phase is Phase.PAUSED
    step = decide.decide(answered(wants, frozen=True, report=freeze.Report(False, why="left 7")))
    assert (reason(step), step.requeue_after) == ("NotPaused", 5.0)


def test_what_was_stopped_is_continued_before_it_is_ready() -> None:
    before = running()
    for kind in (Reason.PAUSING, Reason.NOT_PAUSED, Reason.PAUSE_FAILED, Reason.RESUMING):
        held = dataclasses.replace(before, status=phase.pausing(before.facts(), POD, kind, "x"))
        step = decide.decide(held)
        assert [type(action) for action in step.actions] == [steps.Freeze]
        assert reason(step) == "Resuming"
        assert reason(decide.decide(answered(held, frozen=False, report=freeze.Report(True, 3)))) == "Ready"
        # What was stopped in this very pass, and is to run by now.
        assert words(decide.decide(answered(held, frozen=True, report=freeze.Report(True, 3)))) == [steps.Freeze]


def test_pausing_that_is_switched_off_is_told_and_not_done() -> None:
    step = decide.decide(running(spec=spec(desiredState="Paused"), pausing=False, generation=2))
    assert words(step) == []
    assert step.status is not None
    assert step.status.phase is Phase.READY
    assert any(c["reason"] == "PausingDisabled" for c in step.status.conditions)


def test_one_that_is_not_ready_any_more_says_so() -> None:
    step = decide.decide(running(objects.pod(labels=CLAIMED, ready=False)))
    assert reason(step) == "NodeLost"


def test_the_first_ready_is_counted_and_the_next_are_not() -> None:
    first = view(pods=(POD,), answers=Answers(claim_tried=True, start=Start.WARM))
    step = decide.decide(first)
    assert step.status is not None
    assert (step.status.phase, step.status.start) == (Phase.READY, Start.WARM)
    assert words(step) == [steps.ObserveStart]
    again = decide.decide(running())
    assert (words(again), again.counts) == ([], ())


def test_a_pod_that_has_failed_before_it_was_ready_ends_its_sandbox_at_once() -> None:
    ended = {"exitCode": 1, "message": objects.proof(network="Open", reached=["x"])}
    init = [{"name": names.PROBE_CONTAINER, "state": {"terminated": ended}}]
    pod = objects.pod(labels=COLD, ready=False, phase="Failed", init=init, created="2026-01-01T00:01:00Z")
    step = decide.decide(view(pods=(pod,)))
    assert step.status is not None
    assert (step.status.phase, reason(step)) == (Phase.FAILED, "NetworkNotEnforced")
    assert (step.status.pod_name, step.status.pod_uid) == (pod.metadata.name, pod.metadata.uid), "no status told it"


def test_a_network_of_its_own_goes_with_the_name_servers_of_its_pool() -> None:
    with_dns = pool(template={"image": "a", "dns": {"nameservers": ["203.0.113.9"]}}, allowedEgress=["None", "DNS"])
    own = view(spec=spec(network={"egress": "DNS"}), pool=with_dns).own_reach()
    assert own is not None and own.dns is not None
    assert own.dns.nameservers == ["203.0.113.9"]


def test_one_that_is_paused_is_not_stopped_again() -> None:
    before = running(spec=spec(desiredState="Paused"))
    paused = dataclasses.replace(before, status=phase.paused(before.facts(), POD, 3))
    assert decide.decide(paused) == Step("kept")


def test_what_was_stopped_is_continued_though_pausing_is_switched_off_meanwhile() -> None:
    before = running()
    held = dataclasses.replace(before, status=phase.paused(before.facts(), POD, 3), pausing=False)
    (go,) = decide.decide(held).actions
    assert isinstance(go, steps.Freeze)
    assert not go.stopped


def test_who_has_asked_a_sandbox_for_something_waits_for_the_answer() -> None:
    before = running()
    held = dataclasses.replace(before, status=phase.pausing(before.facts(), POD, Reason.PAUSING, "x"))
    wants = running(spec=spec(desiredState="Paused"), generation=2)
    idle = running(at=NOW - 60, spec=spec(lifetime={"idleSeconds": 60}))
    for seen in (held, wants, idle):
        step = decide.decide(answered(seen, asked=True))
        assert (step.actions, step.status, step.again) == ((), None, False)


@pytest.mark.parametrize(("code", "kind"), [(0, Phase.SUCCEEDED), (3, Phase.FAILED)])
def test_a_main_process_that_has_ended_before_it_was_seen_to_run_ends_its_sandbox(code: int, kind: Phase) -> None:
    ended = [{"name": names.CONTAINER, "state": {"terminated": {"exitCode": code}}}]
    phase_of_pod = "Failed" if code else "Succeeded"
    pod = objects.pod(labels=COLD, ready=False, phase=phase_of_pod, containers=ended)
    step = decide.decide(view(pods=(pod,)))
    assert step.status is not None
    assert step.status.phase is kind
    assert (step.status.last_termination or {})["exitCode"] == code
