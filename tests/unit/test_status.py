"""The status of a Sandbox through its life: what is kept, what is cleared, and what the conditions say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sandyard.api import conditions, model
from sandyard.api.lifetime import Lifetime
from sandyard.api.pool import PoolSpec
from sandyard.api.reasons import Condition, Phase, Reason, Start
from sandyard.pod import proof, termination
from sandyard.sandbox import expiry, phase
from sandyard.sandbox import status as statuses
from sandyard.sandbox.status import Status
from tests.support import kstatus
from tests.unit import objects

PROOF = proof.Proof("gvisor", isolated=True, network="Enforced")


def facts(before: Status | None = None, now: float = 1000.0, **fields: Any) -> phase.Facts:
    return phase.Facts(generation=2, before=before or Status(), now=now, pool_name="python", **fields)


def ready(**before: Any) -> Status:
    return phase.ready(facts(Status(**before)), objects.pod(), Start.WARM, PROOF)


def said(status: Status, kind: Condition) -> tuple[str, str]:
    found = status.condition(kind)
    assert found is not None
    return found["status"], found["reason"]


def test_what_is_known_of_a_sandbox_outlives_its_phases() -> None:
    status = phase.not_ready(facts(ready(workspace_claim="w")), objects.pod(), Reason.POD_NOT_READY, "x")
    for key in ("pool_name", "start", "runtime", "ready_at", "claimed_at", "workspace_claim", "pod_uid"):
        assert getattr(status, key) == getattr(ready(workspace_claim="w"), key), key
    assert said(status, Condition.RUNTIME_ISOLATED) == ("True", "Proven")


def test_none_takes_a_field_away_and_silence_does_not() -> None:
    before = msgspec.structs.replace(ready(), expires_at="2030-01-01T00:00:00Z")
    assert phase.not_ready(facts(before), objects.pod(), Reason.POD_NOT_READY, "x").expires_at
    cleared = phase.not_ready(facts(before, fields={"expires_at": None}), objects.pod(), Reason.POD_NOT_READY, "x")
    assert cleared.expires_at is None
    written = cleared.dump(before)
    assert written["expiresAt"] is None, "what is left out of a merge patch stays"
    assert "expiresAt" not in phase.pending(facts(cleared), Reason.WAITING, "x", stalled=False).dump(cleared)


def test_a_status_is_read_as_it_was_written() -> None:
    status = phase.failed(facts(ready(workspace_claim="w", restarts=2)), Reason.POD_LOST, "gone")
    assert statuses.read(status.dump()) == status
    assert statuses.read({**status.dump(), "ofANewerVersion": 1}) == status
    with pytest.raises(ValueError, match="phase"):
        statuses.read({"phase": "Elsewhere"})


def test_a_suspended_sandbox_has_no_pod_but_its_workspace() -> None:
    status = phase.suspended(facts(ready(workspace_claim="w")), Reason.SUSPENDED, "asked")
    assert status.phase == "Suspended"
    assert [getattr(status, key) for key in ("pod_name", "pod_uid", "pod_ip", "node_name", "claimed_at")] == [None] * 5
    assert status.workspace_claim == "w"
    assert said(status, Condition.CLAIMED)[0] == "False"
    assert said(status, Condition.RECONCILING) == ("False", "Suspended")
    assert not status.running
    assert status.suspended_on_request
    assert not phase.suspended(facts(ready()), Reason.EXPIRED, "over").suspended_on_request


def test_each_new_pod_counts_as_a_restart_and_idle_time_starts_anew() -> None:
    once = phase.resuming(facts(phase.suspended(facts(ready(workspace_claim="w")), Reason.SUSPENDED, ""), now=5000.0))
    assert (once.phase, once.restarts) == ("Starting", 1)
    assert once.last_activity_at == model.timestamp(5000.0)
    assert phase.resuming(facts(once)).restarts == 2
    # One that never had a pod is not started again, and has not been used either.
    fresh = phase.resuming(facts(Status(phase=Phase.SUSPENDED)))
    assert fresh.restarts is None
    assert fresh.last_activity_at is None


COMPLETED = {"reason": "Completed", "exitCode": 0}
ERROR = {"reason": "Error", "exitCode": 3}


@pytest.mark.parametrize(
    ("status", "judged"),
    [
        (phase.pending(facts(), Reason.WAITING, "x", stalled=False), "InProgress"),
        (phase.pending(facts(), Reason.POOL_NOT_FOUND, "x", stalled=True), "Failed"),
        (phase.starting(facts(), objects.pod(), Reason.STARTING, "x", stalled=False), "InProgress"),
        (phase.starting(facts(), objects.pod(), Reason.IMAGE_PULL, "x", stalled=True), "Failed"),
        (ready(), "Current"),
        (phase.not_ready(facts(ready()), objects.pod(), Reason.POD_NOT_READY, "x"), "InProgress"),
        (phase.pausing(facts(ready()), objects.pod(), Reason.PAUSING, "x"), "InProgress"),
        (phase.pausing(facts(ready()), objects.pod(), Reason.PAUSE_FAILED, "x", stalled=True), "Failed"),
        (phase.paused(facts(ready()), objects.pod(), 3), "Current"),
        (phase.suspending(facts(ready()), "x"), "InProgress"),
        (phase.suspended(facts(ready()), Reason.SUSPENDED, "x"), "Current"),
        (phase.suspended(facts(ready()), Reason.EXPIRED, "x"), "Current"),
        (phase.suspended(facts(ready()), Reason.IMAGE_PULL, "x", stalled=True), "Failed"),
        (phase.resuming(facts(ready())), "InProgress"),
        (phase.expired(facts(ready()), Reason.EXPIRED, "x"), "Current"),
        (phase.expired(facts(ready()), Reason.IDLE, "x"), "Current"),
        (phase.finished(facts(ready()), objects.pod(), COMPLETED), "Current"),
        (phase.finished(facts(ready()), objects.pod(), ERROR), "Failed"),
        (phase.failed(facts(ready()), Reason.POD_LOST, "x"), "Failed"),
        (phase.terminating(facts(ready()), ""), "InProgress"),
        (phase.refused_state(ready(), Reason.PAUSING_DISABLED, "x"), "Failed"),
    ],
)
def test_what_is_as_it_was_asked_to_be_is_current_and_every_status_says_why(status: Status, judged: str) -> None:
    content = json.loads(json.dumps(status.dump()))
    assert kstatus.judge({"metadata": {"generation": content["observedGeneration"]}, "status": content}) == judged
    assert status.told is not None
    assert status.told["reason"]
    reconciling = status.condition(Condition.RECONCILING)
    assert reconciling is not None
    assert reconciling["reason"] == status.told["reason"], "the column of kubectl get"


@pytest.mark.parametrize(
    ("status", "held"),
    [
        (phase.paused(facts(ready()), objects.pod(), 3), True),
        (phase.pausing(facts(ready()), objects.pod(), Reason.PAUSING, "x"), True),
        (phase.pausing(facts(ready()), objects.pod(), Reason.RESUMING, "x"), True),
        (phase.pausing(facts(ready()), objects.pod(), Reason.PAUSE_FAILED, "x", stalled=True), True),
        (ready(), False),
        (Status(), False),
    ],
)
def test_stopped_processes_are_known_as_long_as_some_may_be_stopped(status: Status, held: bool) -> None:
    assert status.held is held


def test_a_sandbox_is_paused_when_every_process_is_and_not_before() -> None:
    assert phase.pausing(facts(ready()), objects.pod(), Reason.PAUSING, "x").phase == "Ready"
    paused = phase.paused(facts(ready()), objects.pod(), 3)
    assert paused.phase == "Paused"
    assert said(paused, Condition.RECONCILING) == ("False", "Paused")
    assert phase.pausing(facts(paused), objects.pod(), Reason.RESUMING, "x").phase == "Paused"
    failed = phase.pausing(facts(ready()), objects.pod(), Reason.PAUSE_FAILED, "x", stalled=True)
    assert said(failed, Condition.STALLED) == ("True", "PauseFailed")


def test_what_cannot_be_had_is_said_and_the_sandbox_stays_as_it_is() -> None:
    status = phase.refused_state(ready(), Reason.PAUSING_DISABLED, "switched off")
    assert (status.phase, said(status, Condition.READY)[0]) == ("Ready", "True")
    assert said(status, Condition.STALLED) == ("True", "PausingDisabled")
    assert said(ready(), Condition.STALLED)[0] == "False", "the status before is not changed"


@pytest.mark.parametrize(
    ("reason", "ended"), [(Reason.POD_LOST, True), (Reason.EVICTED, True), (Reason.START_TIMEOUT, False)]
)
def test_a_failed_sandbox_tells_how_its_pod_ended_if_it_had_one(reason: Reason, ended: bool) -> None:
    status = phase.failed(facts(), reason, "gone\x1b[0m")
    assert status.phase == "Failed"
    assert said(status, Condition.FINISHED) == ("True", reason.value)
    assert said(status, Condition.STALLED)[0] == "True"
    assert (status.last_termination is not None) is ended
    if status.last_termination is not None:
        assert status.last_termination["message"] == "gone [0m"
    assert status.ended


def test_a_setup_that_failed_has_a_condition_of_its_own() -> None:
    assert said(phase.failed(facts(), Reason.SETUP_FAILED, "x"), Condition.SETUP_COMPLETED) == ("False", "SetupFailed")
    status = phase.ready(facts(), objects.pod(), Start.COLD, PROOF, setup=True)
    assert said(status, Condition.SETUP_COMPLETED)[0] == "True"
    assert ready().condition(Condition.SETUP_COMPLETED) is None


def test_an_expired_sandbox_has_no_address_and_expires_no_more() -> None:
    before = ready(expires_at="2030-01-01T00:00:00Z", expires="2030-01-01")
    status = phase.expired(facts(before), Reason.EXPIRED, "over")
    assert (status.pod_ip, status.expires_at, status.expires) == (None, None, None)


def test_only_phases_without_return_are_ends() -> None:
    assert {kind for kind in Phase if Status(phase=kind).ended} == {Phase.EXPIRED, Phase.SUCCEEDED, Phase.FAILED}
    assert not Status().ended


def test_a_sandbox_that_goes_is_not_ready_whether_it_is_stuck_or_not() -> None:
    plain = phase.terminating(facts(ready()), "")
    assert (plain.phase, said(plain, Condition.READY)[0]) == ("Terminating", "False")
    assert said(plain, Condition.TEARDOWN_STUCK)[0] == "False"
    stuck = phase.terminating(facts(plain), "finalizer of others")
    assert said(stuck, Condition.STALLED) == ("True", "PodNotTerminating")


def test_a_status_that_says_something_else_is_something_else() -> None:
    def with_(**fields: Any) -> Status:
        first, *others = ready().conditions
        return msgspec.structs.replace(ready(), conditions=({**first, **fields}, *others))

    assert ready().same(with_(lastTransitionTime="2031-01-01T00:00:00Z"))
    for change in ({"message": "y"}, {"reason": "Y"}, {"status": "False"}, {"observedGeneration": 3}):
        assert not ready().same(with_(**change)), change
    assert not ready().same(msgspec.structs.replace(ready(), pod_ip="10.0.0.9"))
    assert ready().same(msgspec.structs.replace(ready(), expires_at=None))


def test_a_long_message_is_cut_and_says_so() -> None:
    assert conditions.printable("x" * 1024) == "x" * 1024
    cut = conditions.printable("x" * 1025)
    assert (len(cut), cut[-1]) == (1024, "…")


@pytest.mark.parametrize("text", ["2030-01-01T00:00:00", "2030-01-01", "tomorrow", ""])
def test_a_time_without_a_zone_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"time zone|Invalid isoformat"):
        model.seconds(text)


def test_a_moment_is_told_in_utc_to_the_microsecond() -> None:
    assert model.timestamp(0.25) == "1970-01-01T00:00:00.250000Z"
    assert model.seconds("1970-01-01T01:00:00+01:00") == 0.0


def test_what_a_sidecar_does_says_nothing_about_the_main_process() -> None:
    other = [{"name": "other", "state": {"terminated": {"exitCode": 1}}}]
    assert termination.of(objects.pod(containers=other)) is None
    assert termination.of(objects.pod(containers=other, phase="Failed")) == {
        "reason": "Error", "message": "the pod is Failed",
    }  # fmt: skip


def test_a_signal_is_told_by_the_runtime_or_by_the_exit_code_within_reason() -> None:
    def number(**ended: Any) -> Any:
        found = termination.of(objects.pod(containers=[{"name": "sandbox", "state": {"terminated": ended}}]))
        assert found is not None
        return found.get("signal")

    assert number(exitCode=1, signal=15) == 15
    assert number(exitCode=143) == 15
    assert number(exitCode=128) is None
    assert number(exitCode=255) is None
    assert number(exitCode=1) is None


def test_an_eviction_is_no_fault_of_the_main_process() -> None:
    containers = [{"name": "sandbox", "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}]
    found = termination.of(objects.pod(phase="Failed", reason="Evicted", containers=containers))
    assert found is not None
    assert found["reason"] == "Evicted"
    assert "exitCode" not in found


def test_a_pool_that_is_there_speaks_for_itself_whatever_its_pod_was_told() -> None:
    pool = PoolSpec.model_validate({"template": {"image": "a"}, "maxLifetimeSeconds": 7})
    assert expiry.terms_of(pool, '{"maxLifetimeSeconds": 99}').max_seconds == 7


def test_a_deadline_holds_before_ready_and_beside_the_pools_limit() -> None:
    own = Lifetime.model_validate({"deadline": "1970-01-01T00:10:00Z"})
    assert expiry.expiry(own, expiry.Terms(), None).at == 600
    assert expiry.expiry(own, expiry.Terms(max_seconds=100), 0.0).at == 100
    assert expiry.expiry(own, expiry.Terms(most_seconds=100), 0.0).at == 100
    assert expiry.expiry(None, expiry.Terms(max_seconds=100, most_seconds=100), None).at is None, "it is not Ready yet"
    assert expiry.expiry(own, expiry.Terms(max_seconds=1000), 0.0).at == 600


@pytest.mark.parametrize(
    ("after_seconds", "shown"),
    [(60, "01-01 00:01Z"), (299 * 86400, "10-27 00:00Z"), (400 * 86400, "1971-02-05"), (1e15, "9999-12-31")],
)
def test_the_column_of_when_it_expires_is_short_and_never_means_another_year(after_seconds: float, shown: str) -> None:
    told = statuses.until(after_seconds, now=0.0)
    assert told["expires"] == shown
    assert len(shown) <= 12
    assert statuses.until(None, now=0.0) == {"expires_at": None, "expires": None}
