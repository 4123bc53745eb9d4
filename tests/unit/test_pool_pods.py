"""What a pool sees of its pods: health, setups, proofs, and why one does not start."""

from __future__ import annotations

from typing import Any

import pytest

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.api.pool import PoolSpec
from sandyard.api.reasons import Reason
from sandyard.pod import observe
from sandyard.pod.observe import PodState
from sandyard.pool import arithmetic, recycle
from sandyard.pool.arithmetic import PoolView, decide
from sandyard.pool.backoff import Backoff
from sandyard.pool.census import Census, PoolPod
from sandyard.pool.expectations import Expectations
from tests.unit import objects

BEFORE, READY_AT, AFTER = "2026-01-01T00:00:05Z", objects.READY_AT, "2026-01-01T00:00:20Z"


def main(started: str = BEFORE, *, ready: bool = False, **state: Any) -> list[dict[str, Any]]:
    return [{"name": names.CONTAINER, "ready": ready, "state": state or {"running": {"startedAt": started}}}]


def with_setup(annotation: str, *, ended: tuple[str, ...], exit_code: int = 0, **changes: Any) -> Pod:
    """A pod with a setup: of its init containers, those in *ended* have ended."""
    message = changes.pop("message", objects.proof())
    init = [
        {
            "name": name,
            "state": {"terminated": {"exitCode": exit_code, "message": message}}
            if name in ended
            else {"running": {"startedAt": BEFORE}},
        }
        for name in (names.PROBE_CONTAINER, names.SETUP_CONTAINER, names.CLOSED_CONTAINER)
    ]
    made = objects.pod(init=init, **changes)
    made.metadata.annotations[names.ANNOTATION_SETUP] = annotation
    return made


PROBE, SETUP, CLOSED = names.PROBE_CONTAINER, names.SETUP_CONTAINER, names.CLOSED_CONTAINER


def test_a_pod_that_was_ready_and_is_not_is_unhealthy_and_one_that_never_was_is_starting() -> None:
    assert observe.classify(objects.pod(ready=False, containers=main(BEFORE)), "None") is PodState.UNHEALTHY
    assert observe.classify(objects.pod(ready=False, containers=main(AFTER)), "None") is PodState.STARTING
    assert observe.classify(objects.pod(ready=False, containers=main(READY_AT)), "None") is PodState.STARTING
    assert observe.classify(objects.pod(ready=False, containers=main(BEFORE), phase="Failed"), "None") is (
        PodState.FAILED
    )


def test_ready_unknown_is_not_ready() -> None:
    """So it says when the node does not answer any more."""
    assert not observe.is_ready(objects.pod(ready="Unknown"))
    assert observe.classify(objects.pod(ready="Unknown", containers=main(BEFORE)), "None") is PodState.UNHEALTHY


def test_a_pod_that_was_restarted_for_its_next_sandbox_is_as_old_as_it_is() -> None:
    """It would outlive warm.maxAgeSeconds otherwise."""
    pod = objects.pod(created="2026-01-01T00:00:00Z")
    assert observe.ready_at(pod) == model.seconds(READY_AT)
    pod.metadata.annotations[names.ANNOTATION_USES] = "1"
    assert observe.ready_at(pod) == model.seconds("2026-01-01T00:00:00Z")


def test_why_a_pod_is_sick_tells_its_own_probe_from_its_node() -> None:
    assert observe.sickness(objects.pod(ready=False, containers=main())).reason is Reason.POD_NOT_READY
    assert "warm.probe" in observe.sickness(objects.pod(ready=False, containers=main())).message
    assert "has stopped" in observe.sickness(objects.pod(containers=main(terminated={"exitCode": 1}))).message
    lost = observe.sickness(objects.pod(ready="Unknown", containers=main(ready=True)))
    assert lost.reason is Reason.NODE_LOST
    assert "node-1" in lost.message


def test_only_what_was_seen_after_the_setups_network_was_closed_is_proof() -> None:
    every = (PROBE, SETUP, CLOSED)
    assert observe.proof_of(with_setup(names.SETUP_OPEN, ended=every)) is None
    assert observe.proof_of(with_setup(names.SETUP_CLOSING, ended=every)) is None
    assert observe.proof_of(with_setup(names.SETUP_CLOSED, ended=(PROBE, SETUP))) is None
    assert observe.proof_of(with_setup(names.SETUP_CLOSED, ended=every)) is not None
    assert observe.classify(with_setup(names.SETUP_OPEN, ended=every), "None") is PodState.STARTING


def test_a_setups_network_is_closed_once_it_has_ended_and_not_before() -> None:
    assert not observe.setup_open(with_setup(names.SETUP_OPEN, ended=(PROBE,)))
    assert observe.setup_open(with_setup(names.SETUP_OPEN, ended=(PROBE, SETUP)))
    assert observe.setup_open(with_setup(names.SETUP_CLOSING, ended=(PROBE, SETUP))), "the operator may have ended"
    assert not observe.setup_open(with_setup(names.SETUP_CLOSED, ended=(PROBE, SETUP)))
    assert not observe.setup_open(with_setup(names.SETUP_OPEN, ended=(PROBE, SETUP), deletion=BEFORE))
    assert observe.setup_since(with_setup(names.SETUP_OPEN, ended=(PROBE,))) == 1767225605.0
    assert observe.setup_since(with_setup(names.SETUP_OPEN, ended=(PROBE, SETUP))) is None


def test_a_pod_whose_setups_network_was_closed_too_late_is_in_trouble() -> None:
    found = observe.trouble(with_setup(names.SETUP_OPEN, ended=(PROBE, SETUP, CLOSED)))
    assert found is not None
    assert found.reason is Reason.NETWORK_NOT_ENFORCED
    assert observe.trouble(with_setup(names.SETUP_CLOSED, ended=(PROBE, SETUP, CLOSED))) is None


def test_a_setup_that_fails_is_called_so() -> None:
    failed = with_setup(
        names.SETUP_OPEN, ended=(SETUP,), exit_code=3, message="pip: no network", phase="Failed", ready=False
    )
    found = observe.trouble(failed)
    assert found is not None
    assert found.reason is Reason.SETUP_FAILED
    assert "exit code 3: pip: no network" in found.message


def test_the_second_proof_counts_as_much_as_the_first() -> None:
    failed = objects.pod(
        phase="Failed", ready=False,
        init=[
            {"name": PROBE, "state": {"terminated": {"exitCode": 0, "message": objects.proof()}}},
            {"name": CLOSED, "state": {"terminated": {"exitCode": 1, "message": objects.proof(network="Open")}}},
        ],
    )  # fmt: skip
    found = observe.trouble(failed)
    assert found is not None
    assert found.reason is Reason.NETWORK_NOT_ENFORCED


@pytest.mark.parametrize(
    ("reached", "remedy"),
    [
        (["node:10250"], "the node's firewall"),
        (["node:10250", "node:31000"], "the node's firewall"),
        (["10.96.0.1:443", "node:10250"], "a network plugin that enforces NetworkPolicy"),
        ([], "a network plugin that enforces NetworkPolicy"),
    ],
)
def test_a_node_that_answers_is_told_with_its_own_remedy(reached: list[str], remedy: str) -> None:
    found = observe.trouble(objects.pod(phase="Failed", message=objects.proof(network="Open", reached=reached)))
    assert found is not None
    assert remedy in found.message
    assert all(destination in found.message for destination in reached)


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "RunContainerError", "CrashLoopBackOff"])
def test_a_container_that_cannot_start_is_trouble_before_the_pod_fails(reason: str) -> None:
    found = observe.trouble(objects.pod(ready=False, containers=main(waiting={"reason": reason, "message": "x"})))
    assert found is not None
    assert found.reason is Reason.CONTAINER_ERROR
    assert found.message == f"{reason}: x"


def test_what_merely_takes_its_time_is_no_trouble() -> None:
    for reason in ("ContainerCreating", "PodInitializing"):
        assert observe.trouble(objects.pod(ready=False, containers=main(waiting={"reason": reason}))) is None
    scheduled = {"type": "PodScheduled", "status": "True", "reason": ""}
    assert observe.trouble(objects.pod(ready=False, conditions=[scheduled])) is None


NOW = 1000.0


def test_a_warm_pod_makes_room_for_a_sandbox_that_cannot_use_it() -> None:
    warm = [PoolPod(f"w{n}", PodState.WARM, 0, n) for n in range(3)]
    decision = decide(PoolView(replicas=3, pods=Census(warm), max_sandboxes=3, reserved=1), NOW)
    assert decision.delete == ("w2",)
    assert decision.create == 0
    after = decide(PoolView(replicas=3, pods=Census(warm[:2]), max_sandboxes=3, reserved=1), NOW)
    assert (after.create, after.delete) == (0, ())
    outdated = [PoolPod("o", PodState.WARM, 0, 1, current=False)]
    assert decide(PoolView(replicas=3, pods=Census(outdated), max_sandboxes=3, reserved=1), NOW).create == 1


def test_what_is_being_deleted_still_takes_its_place() -> None:
    pods = [PoolPod("t", PodState.TERMINATING), PoolPod("w", PodState.WARM, 0, 1)]
    assert decide(PoolView(replicas=2, pods=Census(pods), max_sandboxes=2), NOW).create == 0
    assert decide(PoolView(replicas=2, pods=Census(pods), max_sandboxes=3), NOW).create == 1


def test_a_rounded_share_never_keeps_a_rollout_from_moving() -> None:
    assert arithmetic.amount("1%", 1) == 1
    assert arithmetic.amount("100%", 7) == 7


def test_stuck_starts_go_before_those_that_may_still_come() -> None:
    starting = [
        PoolPod("old", PodState.STARTING, NOW - 50),
        PoolPod("stuck", PodState.STARTING, NOW - 100, stuck=True),
        PoolPod("new", PodState.STARTING, NOW - 1),
    ]
    assert decide(PoolView(replicas=2, pods=Census(starting)), NOW).delete == ("stuck",)
    assert decide(PoolView(replicas=1, pods=Census(starting)), NOW).delete == ("new", "stuck")


def test_a_refused_delete_is_tried_again() -> None:
    expected = Expectations()
    expected.expect_delete("a", 0)
    expected.delete_failed("a")
    assert not expected.deleting("a", 0)


def test_a_create_that_was_never_seen_is_forgotten_by_its_name_too() -> None:
    expected = Expectations(timeout_seconds=30)
    expected.expect_create("a", 0)
    assert expected.creating("a", 29)
    assert not expected.creating("a", 30)
    assert not expected.creating("b", 0)


def test_a_later_failure_never_shortens_the_wait() -> None:
    long = Backoff()
    for _ in range(8):
        long = long.fail(Reason.PROBE_FAILED, "", 0, 0.5)
    assert long.fail(Reason.QUOTA_EXCEEDED, "", 1, 0).until >= long.until


def test_the_first_failure_costs_seconds_and_the_waits_of_two_pools_differ() -> None:
    first = [Backoff().fail(Reason.PROBE_FAILED, "", 100, jitter).until - 100 for jitter in (0.0, 0.999)]
    assert 4 < first[0] < first[1] < 8


def test_failures_without_end_wait_no_longer_than_the_cap() -> None:
    late = Backoff(failures=5000).fail(Reason.QUOTA_EXCEEDED, "", 100, 0.5)
    assert late.until == 115
    assert Backoff(failures=5000).fail(Reason.PROBE_FAILED, "", 100, 0.5).until == 700


def spec(**fields: Any) -> PoolSpec:
    return PoolSpec.model_validate(
        {"recycle": "Restart", "restart": {"maxUses": 3}, "template": {"image": "a"}, **fields}
    )  # fmt: skip


def used(**labels: str) -> Pod:
    mine = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: "s", **labels}
    before = [{"name": names.PROBE_CONTAINER}, {"name": names.RESTART_CONTAINER}]
    return objects.pod(labels=mine, containers=main(ready=True), init=before)


def test_a_pod_whose_ingress_was_opened_is_not_used_again() -> None:
    status = {"readyAt": AFTER}
    assert recycle.obstacle(used(), status, spec(), "hash") == ""
    assert "network" in recycle.obstacle(used(**{names.LABEL_INGRESS: "x"}), status, spec(), "hash")


@pytest.mark.parametrize(
    ("annotation", "uses", "again"), [(None, 1, True), ("1", 2, True), ("2", 3, False), ("-5", 10**6 + 1, False),
                                      ("none", 10**6 + 1, False)],
)  # fmt: skip
def test_a_pod_is_used_as_often_as_the_pool_says_and_a_count_that_is_none_is_too_many(
    annotation: str | None, uses: int, again: bool
) -> None:
    pod = used()
    if annotation is not None:
        pod.metadata.annotations[names.ANNOTATION_USES] = annotation
    assert recycle.uses(pod) == uses
    assert (recycle.obstacle(pod, {"readyAt": AFTER}, spec(), "hash") == "") is again
