"""Phases, expiry, termination, teardown order: the pure half of a Sandbox's life."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.api import conditions, model
from sandyard.api.conditions import Finding
from sandyard.api.lifetime import Lifetime, SandboxLifetime
from sandyard.api.reasons import Condition, Reason, Start
from sandyard.pod import proof, termination
from sandyard.sandbox import expiry, phase, queue, teardown, usage
from sandyard.sandbox.status import Status
from tests.unit import objects

PROOF = proof.Proof("gvisor", isolated=True, network="Enforced")


def facts(before: Status | None = None, now: float = 1000.0) -> phase.Facts:
    return phase.Facts(generation=2, before=before or Status(), now=now, pool_name="python")


def condition(status: Status, kind: Condition) -> tuple[str, str]:
    found = status.condition(kind)
    assert found is not None
    return found["status"], found["reason"]


def test_ready_says_everything_in_one_write() -> None:
    status = phase.ready(facts(), objects.pod(), Start.WARM, PROOF)
    assert status.phase == "Ready"
    assert status.start == "Warm"
    assert status.pod_uid == "p1"
    assert status.pod_ip == "10.0.0.1"
    assert status.node_name == "node-1"
    assert status.runtime == "gvisor"
    assert status.observed_generation == 2
    assert condition(status, Condition.READY) == ("True", "Ready")
    assert condition(status, Condition.STALLED)[0] == "False"
    assert condition(status, Condition.RECONCILING)[0] == "False"
    assert condition(status, Condition.RUNTIME_ISOLATED)[0] == "True"
    assert condition(status, Condition.NETWORK_ENFORCED)[0] == "True"


def test_what_was_said_once_stays() -> None:
    first = phase.ready(facts(), objects.pod(), Start.WARM, PROOF)
    again = phase.ready(facts(first, now=2000.0), objects.pod(), Start.COLD, PROOF)
    assert first.same(again)
    assert again.ready_at == first.ready_at
    assert again.start == "Warm"


def test_a_best_effort_sandbox_says_what_is_not_proven() -> None:
    weak = proof.Proof("not-gvisor", isolated=False, network="Open")
    status = phase.ready(facts(), objects.pod(), Start.WARM, weak)
    assert condition(status, Condition.READY)[0] == "True"
    assert condition(status, Condition.RUNTIME_ISOLATED) == ("False", "RuntimeNotIsolated")
    assert condition(status, Condition.NETWORK_ENFORCED) == ("False", "NetworkNotEnforced")


def test_a_dead_end_is_stalled_and_a_wait_is_not() -> None:
    waiting = phase.pending(facts(), Reason.WAITING, "soon", stalled=False)
    assert condition(waiting, Condition.RECONCILING)[0] == "True"
    missing = phase.pending(facts(), Reason.POOL_NOT_FOUND, "no pool", stalled=True)
    assert condition(missing, Condition.STALLED) == ("True", "PoolNotFound")
    assert missing.phase == "Pending"


@pytest.mark.parametrize(
    ("terminated", "pod_phase", "expected"),
    [
        ({"exitCode": 0, "reason": "Completed"}, "Succeeded", {"reason": "Completed", "exitCode": 0}),
        ({"exitCode": 7, "reason": "Error"}, "Failed", {"reason": "Error", "exitCode": 7}),
        ({"exitCode": 137, "reason": "OOMKilled"}, "Failed",
         {"reason": "OOMKilled", "exitCode": 137, "signal": 9}),
        ({"exitCode": 137, "reason": "Error"}, "Failed", {"reason": "Error", "exitCode": 137, "signal": 9}),
        # The pod's phase follows seconds later.
        ({"exitCode": 0, "reason": "Completed"}, "Running", {"reason": "Completed", "exitCode": 0}),
        ({"exitCode": 128, "reason": "OOMKilled"}, "Running", {"reason": "OOMKilled", "exitCode": 128}),
    ],
)  # fmt: skip
def test_how_the_main_process_ended(terminated: dict[str, Any], pod_phase: str, expected: dict[str, Any]) -> None:
    containers = [{"name": "sandbox", "state": {"terminated": terminated}}]
    pod = objects.pod(phase=pod_phase, containers=containers)
    found = termination.of(pod)
    assert found == expected
    status = phase.finished(facts(), pod, found)
    assert status.phase == ("Succeeded" if expected["reason"] == "Completed" else "Failed")
    assert condition(status, Condition.FINISHED)[0] == "True"


def test_a_running_pod_has_not_ended() -> None:
    assert termination.of(objects.pod()) is None


def test_what_is_deleted_has_not_ended_by_itself() -> None:
    containers = [{"name": "sandbox", "state": {"terminated": {"exitCode": 143, "reason": "Error"}}}]
    pod = objects.pod(phase="Running", containers=containers, deletion="2026-01-01T00:00:00Z")
    assert termination.of(pod) is None


def test_messages_of_tenants_carry_no_escape_sequences() -> None:
    finding = Finding(Condition.READY, False, Reason.ERROR, "\x1b[2Jgone\r\n" + "x" * 5000)
    message = conditions.merge([], [finding], 1, 0)[0]["message"]
    assert "\x1b" not in message
    assert "\n" not in message
    assert len(message) <= 1024


def test_a_transition_time_changes_with_the_status_and_not_with_the_message() -> None:
    first = conditions.merge([], [Finding(Condition.READY, False, Reason.WAITING, "a")], 1, 100)
    second = conditions.merge(first, [Finding(Condition.READY, False, Reason.STARTING, "b")], 1, 200)
    third = conditions.merge(second, [Finding(Condition.READY, True, Reason.READY)], 1, 300)
    assert second[0]["lastTransitionTime"] == first[0]["lastTransitionTime"]
    assert third[0]["lastTransitionTime"] == model.timestamp(300)


NO_TERMS = expiry.Terms()


def at(own: Lifetime | None, ready_at: float | None, active_at: float | None = None, **terms: Any) -> float | None:
    return expiry.expiry(own, expiry.Terms(**terms), ready_at, active_at).at


def test_no_lifetime_is_for_ever() -> None:
    assert at(None, 5) is None
    assert at(Lifetime(), 5) is None


def test_seconds_count_from_ready() -> None:
    assert at(Lifetime(seconds=60), None) is None
    assert at(Lifetime(seconds=60), 100) == 160


@given(st.integers(1, 10**6), st.floats(0, 10**9), st.floats(0, 10**9))
def test_the_earlier_of_both_limits_wins(seconds: int, ready_at: float, deadline: float) -> None:
    text = model.timestamp(deadline)
    lifetime = Lifetime(seconds=seconds, deadline=text)
    assert at(lifetime, ready_at) == min(ready_at + seconds, model.seconds(text))


def test_the_pool_s_default_holds_for_those_who_name_none_as_a_whole() -> None:
    default = SandboxLifetime(seconds=30, idle_seconds=5)
    assert at(None, 100, default=default) == 105
    assert at(Lifetime(seconds=60), 100, default=default) == 160


@given(st.builds(Lifetime, seconds=st.none() | st.integers(1, 10**8), idle_seconds=st.none() | st.integers(5, 10**8)),
       st.floats(0, 10**9), st.integers(1, 10**9))  # fmt: skip
def test_nothing_lives_longer_than_the_pool_allows(own: Lifetime, active_at: float, maximum: int) -> None:
    found = at(own, 1000.0, active_at, max_seconds=maximum)
    assert found is not None
    assert found <= 1000.0 + maximum


def test_idle_time_counts_from_the_last_activity_or_from_ready() -> None:
    idle = Lifetime(idle_seconds=10)
    assert at(idle, 100) == 110
    assert at(idle, 100, 150) == 160
    assert at(idle, 100, 50) == 110
    assert expiry.expiry(idle, NO_TERMS, 100).reason is Reason.IDLE


def test_a_stamp_in_the_future_counts_as_now_and_one_in_the_past_as_nothing() -> None:
    assert expiry.activity(model.timestamp(10**9), None, 500.0) == 500.0
    assert expiry.activity(model.timestamp(100.0), 200.0, 500.0) == 200.0
    assert expiry.activity(model.timestamp(300.0), 200.0, 500.0) == 300.0
    assert expiry.activity("nonsense", 200.0, 500.0) == 200.0


def test_the_terms_of_a_pool_that_is_gone_are_read_from_the_pod() -> None:
    terms = expiry.Terms(SandboxLifetime(seconds=7, on_expiry="Stop"), 99)
    assert expiry.terms_of(None, terms.dump()) == terms
    assert expiry.terms_of(None, "") == NO_TERMS
    assert expiry.terms_of(None, "{broken") == NO_TERMS
    assert NO_TERMS.dump() == ""


def test_an_ended_sandbox_is_deleted_so_long_after_its_end() -> None:
    ended = phase.failed(facts(now=1000.0), Reason.ERROR, "x")
    own = Lifetime(seconds_after_finished=60)
    assert expiry.deleted_at(own, NO_TERMS, ended) == 1060
    assert expiry.deleted_at(own, NO_TERMS, Status()) is None
    assert expiry.deleted_at(Lifetime(), NO_TERMS, ended) is None
    assert expiry.deleted_at(None, expiry.Terms(SandboxLifetime(seconds_after_finished=5)), ended) == 1005


def test_an_expired_sandbox_that_is_kept_says_so() -> None:
    status = phase.expired(facts(), Reason.IDLE, "it was idle for 10 s")
    assert status.phase == "Expired"
    assert condition(status, Condition.FINISHED) == ("True", "Idle")
    assert condition(status, Condition.STALLED)[0] == "False"
    assert (status.last_termination or {})["reason"] == "Expired"
    assert status.ended


def test_a_sandbox_whose_pod_is_not_ready_does_not_say_ready() -> None:
    before = phase.ready(facts(), objects.pod(), Start.WARM, PROOF)
    status = phase.not_ready(facts(before), objects.pod(ready=False), Reason.POD_NOT_READY, "sick")
    assert status.phase != "Ready"
    assert condition(status, Condition.READY) == ("False", "PodNotReady")
    assert condition(status, Condition.RECONCILING)[0] == "True"


def test_the_place_in_a_line_costs_few_changes_of_the_message() -> None:
    assert queue.place(0) == "next in the queue"
    assert queue.place(3) == "3 ahead of it in the queue"
    assert queue.place(10) == queue.place(19) == "more than 10 ahead of it in the queue"
    assert len({queue.place(ahead) for ahead in range(10_000)}) < 50


def test_the_finalizer_goes_only_when_no_pod_is_left() -> None:
    assert teardown.next_step([], 0, 10).release
    assert not teardown.next_step([objects.pod()], 0, 10).release
    going = objects.pod(deletion="2026-01-01T00:00:00Z")
    assert not teardown.next_step([going], 10**6, 10).release


def test_a_pod_is_asked_to_go_once_it_is_known_and_never_by_force() -> None:
    running = objects.pod()
    assert teardown.next_step([running], 0, 10).delete == (running,)
    assert teardown.next_step([objects.pod(deletion="2026-01-01T00:00:00Z")], 0, 10).delete == ()


def test_what_does_not_go_is_called_stuck_with_its_reason() -> None:
    going = objects.pod(deletion="2026-01-01T00:00:00Z", finalizers=["example.com/hold"])
    patience = 10 + teardown.STUCK_AFTER_SECONDS
    assert teardown.next_step([going], patience - 1, 10).stuck == ""
    step = teardown.next_step([going], patience, 10)
    assert "example.com/hold" in step.stuck
    assert step.requeue_after
    status = phase.terminating(facts(), step.stuck)
    assert condition(status, Condition.TEARDOWN_STUCK)[0] == "True"


MOMENT = {"timestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("metrics", "cores"),
    [
        ({**MOMENT, "containers": [{"name": "sandbox", "usage": {"cpu": "812345678n"}}]}, 0.81),
        ({**MOMENT, "containers": [{"name": "sandbox", "usage": {"cpu": "2"}}]}, 2.0),
        ({**MOMENT, "containers": [{"name": "other", "usage": {"cpu": "2"}}]}, None),
        ({**MOMENT, "containers": [{"name": "sandbox", "usage": {}}]}, None),
        ({"timestamp": "yesterday", "containers": [{"name": "sandbox", "usage": {"cpu": "2"}}]}, None),
        ({}, None),
        (None, None),
    ],
)  # fmt: skip
def test_what_the_metrics_api_says_is_understood_or_left_alone(metrics: Any, cores: float | None) -> None:
    found = usage.read(metrics)
    assert (found is None) if cores is None else (found is not None and abs(found.cores - cores) < 0.01)


def test_idle_time_does_not_count_while_it_is_suspended() -> None:
    lifetime = Lifetime.model_validate({"idleSeconds": 60, "seconds": 3600})
    assert expiry.expiry(lifetime, expiry.Terms(), 1000.0).at == 1060.0
    assert expiry.expiry(lifetime, expiry.Terms(), 1000.0, idle_counts=False).at == 4600.0
