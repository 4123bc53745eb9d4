"""Phases, expiry, termination, teardown order: the pure half of a Sandbox's life."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.api import conditions, model
from sandyard.api.conditions import Finding
from sandyard.api.reasons import Condition, Reason, Start
from sandyard.api.sandbox import Lifetime
from sandyard.podspec import proof
from sandyard.sandbox import expiry, phase, teardown, termination
from tests.unit import objects

PROOF = proof.Proof("gvisor", isolated=True, network="Enforced")


def facts(before: dict[str, Any] | None = None, now: float = 1000.0) -> phase.Facts:
    return phase.Facts(generation=2, before=before or {}, now=now, pool_name="python")


def condition(status: dict[str, Any], kind: Condition) -> tuple[str, str]:
    found = conditions.find(status["conditions"], kind)
    assert found is not None
    return found["status"], found["reason"]


def test_ready_says_everything_in_one_write() -> None:
    status = phase.ready(facts(), objects.pod(), Start.WARM, PROOF, 1300.0)
    assert status["phase"] == "Ready"
    assert status["start"] == "Warm"
    assert status["podUID"] == "p1"
    assert status["podIP"] == "10.0.0.1"
    assert status["nodeName"] == "node-1"
    assert status["runtime"] == "gvisor"
    assert status["observedGeneration"] == 2
    assert model.seconds(status["expiresAt"]) == 1300.0
    assert condition(status, Condition.READY) == ("True", "Ready")
    assert condition(status, Condition.STALLED)[0] == "False"
    assert condition(status, Condition.RECONCILING)[0] == "False"
    assert condition(status, Condition.RUNTIME_ISOLATED)[0] == "True"
    assert condition(status, Condition.NETWORK_ENFORCED)[0] == "True"


def test_what_was_said_once_stays() -> None:
    first = phase.ready(facts(), objects.pod(), Start.WARM, PROOF, None)
    again = phase.ready(facts(first, now=2000.0), objects.pod(), Start.COLD, PROOF, None)
    assert conditions.same(first, again)
    assert again["readyAt"] == first["readyAt"]
    assert again["start"] == "Warm"


def test_a_best_effort_sandbox_says_what_is_not_proven() -> None:
    weak = proof.Proof("not-gvisor", isolated=False, network="Open")
    status = phase.ready(facts(), objects.pod(), Start.WARM, weak, None)
    assert condition(status, Condition.READY)[0] == "True"
    assert condition(status, Condition.RUNTIME_ISOLATED) == ("False", "RuntimeNotIsolated")
    assert condition(status, Condition.NETWORK_ENFORCED) == ("False", "NetworkNotEnforced")


def test_a_dead_end_is_stalled_and_a_wait_is_not() -> None:
    waiting = phase.pending(facts(), Reason.WAITING, "soon", stalled=False)
    assert condition(waiting, Condition.RECONCILING)[0] == "True"
    missing = phase.pending(facts(), Reason.POOL_NOT_FOUND, "no pool", stalled=True)
    assert condition(missing, Condition.STALLED) == ("True", "PoolNotFound")
    assert missing["phase"] == "Pending"


@pytest.mark.parametrize(
    ("terminated", "pod_phase", "expected"),
    [
        ({"exitCode": 0, "reason": "Completed"}, "Succeeded", {"reason": "Completed", "exitCode": 0}),
        ({"exitCode": 7, "reason": "Error"}, "Failed", {"reason": "Error", "exitCode": 7}),
        ({"exitCode": 137, "reason": "OOMKilled"}, "Failed",
         {"reason": "OOMKilled", "exitCode": 137, "signal": 9}),
        ({"exitCode": 137, "reason": "Error"}, "Failed", {"reason": "Error", "exitCode": 137, "signal": 9}),
    ],
)  # fmt: skip
def test_how_the_main_process_ended(terminated: dict[str, Any], pod_phase: str, expected: dict[str, Any]) -> None:
    containers = [{"name": "sandbox", "state": {"terminated": terminated}}]
    pod = objects.pod(phase=pod_phase, containers=containers)
    found = termination.of(pod)
    assert found == expected
    status = phase.finished(facts(), pod, found)
    assert status["phase"] == ("Succeeded" if pod_phase == "Succeeded" else "Failed")
    assert condition(status, Condition.FINISHED)[0] == "True"


def test_a_running_pod_has_not_ended() -> None:
    assert termination.of(objects.pod()) is None


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


def test_no_lifetime_is_for_ever() -> None:
    assert expiry.expires_at(None, 5) is None
    assert expiry.expires_at(Lifetime(), 5) is None


def test_seconds_count_from_ready() -> None:
    assert expiry.expires_at(Lifetime(seconds=60), None) is None
    assert expiry.expires_at(Lifetime(seconds=60), 100) == 160


@given(st.integers(1, 10**6), st.floats(0, 10**9), st.floats(0, 10**9))
def test_the_earlier_of_both_limits_wins(seconds: int, ready_at: float, deadline: float) -> None:
    text = model.timestamp(deadline)
    lifetime = Lifetime(seconds=seconds, deadline=text)
    assert expiry.expires_at(lifetime, ready_at) == min(ready_at + seconds, model.seconds(text))


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
    assert step.again_in_seconds
    status = phase.terminating(facts(), step.stuck)
    assert condition(status, Condition.TEARDOWN_STUCK)[0] == "True"
