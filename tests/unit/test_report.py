"""The status of a pool: numbers that add up, and conditions that say what to do."""

from __future__ import annotations

from typing import Any

import pytest

from sandyard.api.reasons import Condition, Reason
from sandyard.pod.observe import PodState, Trouble
from sandyard.pool import report
from sandyard.pool import status as statuses
from sandyard.pool.backoff import Backoff
from sandyard.pool.census import Census, PoolPod
from sandyard.pool.status import AutoscaleFigures, PoolStatus

PODS = [
    PoolPod("w1", PodState.WARM), PoolPod("w2", PodState.WARM), PoolPod("w3", PodState.WARM, current=False),
    PoolPod("p1", PodState.PROVEN), PoolPod("p2", PodState.PROVEN, current=False), PoolPod("s1", PodState.STARTING),
    PoolPod("s2", PodState.STARTING, current=False), PoolPod("c1", PodState.CLAIMED),
    PoolPod("c2", PodState.CLAIMED, current=False), PoolPod("f", PodState.FAILED), PoolPod("u", PodState.UNHEALTHY),
    PoolPod("t1", PodState.TERMINATING), PoolPod("t2", PodState.TERMINATING, current=False),
]  # fmt: skip
IMAGE = Trouble(Reason.IMAGE_PULL, "no such image")


def made(before: PoolStatus | None = None, **fields: Any) -> PoolStatus:
    content = {"uid": "u", "generation": 3, "replicas": 2, "template_hash": "h", "pods": PODS[:2],
               "pending_creates": 0, "waiting": 0, "warm_hits": 5, "cold_starts": 1, **fields}  # fmt: skip
    facts = report.PoolFacts(**{**content, "pods": Census(content["pods"])})
    return report.status(facts, before or PoolStatus(), 1000.0)


def said(status: PoolStatus, kind: Condition) -> tuple[str, str]:
    found = status.condition(kind)
    assert found is not None
    assert found["observedGeneration"] == 3
    return found["status"], found["reason"]


def test_each_pod_is_counted_once_and_under_its_own_name() -> None:
    status = made(pods=PODS, pending_creates=4)
    numbers = {
        key: getattr(status, key) for key in ("replicas", "starting", "claimed", "terminating", "unhealthy", "outdated")
    }
    assert numbers == {
        "replicas": 2,  # warm, and of the present template
        "starting": 6,  # one that starts, one that is proven, four that are not seen yet
        "claimed": 2, "terminating": 2, "unhealthy": 2,
        "outdated": 3,
    }  # fmt: skip
    assert sum(numbers.values()) == len(PODS) + 4
    assert (status.warm_hits, status.cold_starts, status.template_hash) == (5, 1, "h")
    assert status.selector == "sandyard.dev/pool-uid=u,sandyard.dev/state=warm"
    assert status.observed_generation == 3


@pytest.mark.parametrize(
    ("fields", "ready", "reconciling", "stalled"),
    [
        ({}, ("True", "Ready"), "False", "False"),
        ({"pods": PODS[:1]}, ("False", "Scaling"), "True", "False"),
        ({"pods": [], "replicas": 0}, ("True", "Ready"), "False", "False"),
        ({"paused": True}, None, "False", "False"),
        ({"paused": True, "pods": [], "trouble": IMAGE}, None, "False", "False"),
        ({"pods": PODS[:1], "at_maximum": True}, ("False", "MaxSandboxesReached"), "False", "False"),
        ({"pods": PODS[:1], "trouble": IMAGE}, ("False", "ImagePullBackOff"), "False", "True"),
        ({"pods": PODS[:1], "refused": "root"}, ("False", "InvalidTemplate"), "False", "True"),
        ({"pods": PODS[:1], "backoff": Backoff(2, 900.0, Reason.QUOTA_EXCEEDED, "quota")},
         ("False", "QuotaExceeded"), "False", "True"),
        # All are warm: what once failed is no trouble any more, unless somebody waits.
        ({"trouble": IMAGE}, ("True", "Ready"), "False", "False"),
        ({"trouble": IMAGE, "waiting": 1}, ("True", "Ready"), "False", "True"),
        # Filled once, it stays Ready while claims take pods out of it: refilling is its work.
        ({"pods": PODS[:1], "filled": True}, ("True", "Ready"), "False", "False"),
        ({"pods": [], "waiting": 9, "filled": True}, ("True", "Ready"), "False", "False"),
        ({"pods": PODS[:1], "filled": True, "at_maximum": True}, ("True", "Ready"), "False", "False"),
        ({"pods": [], "filled": True, "empty_too_long": True}, ("False", "Empty"), "False", "False"),
        ({"pods": [], "filled": True, "empty_too_long": True, "at_maximum": True},
         ("False", "MaxSandboxesReached"), "False", "False"),
        ({"pods": PODS[:1], "filled": True, "trouble": IMAGE}, ("False", "ImagePullBackOff"), "False", "True"),
        ({"pods": PODS[:1], "filled": True, "paused": True}, None, "False", "False"),
        ({"pods": PODS[:1], "filled": True, "refused": "root"}, ("False", "InvalidTemplate"), "False", "True"),
        ({"pods": PODS[:1], "filled": True, "backoff": Backoff(2, 900.0, Reason.QUOTA_EXCEEDED, "quota")},
         ("False", "QuotaExceeded"), "False", "True"),
        # A rollout goes on until the last pod of the template before is replaced, full or not.
        ({"pods": PODS[:3]}, ("True", "Ready"), "True", "False"),
        ({"pods": [*PODS[:1], PODS[2]], "filled": True}, ("True", "Ready"), "True", "False"),
        ({"pods": PODS[:3], "paused": True}, None, "False", "False"),
    ],
)  # fmt: skip
def test_ready_reconciling_and_stalled_say_the_same_story(
    fields: dict[str, Any], ready: tuple[str, str] | None, reconciling: str, stalled: str
) -> None:
    status = made(**fields)
    # What is paused is as it was asked to be: it has no Ready, which would say "not yet".
    assert (said(status, Condition.READY) if status.condition(Condition.READY) else None) == ready
    assert said(status, Condition.RECONCILING)[0] == reconciling
    assert said(status, Condition.STALLED)[0] == stalled


@pytest.mark.parametrize(
    ("fields", "full"),
    [
        ({}, ("True", "AllWarm")),
        ({"pods": PODS[:1]}, ("False", "Scaling")),
        ({"pods": PODS[:1], "filled": True}, ("False", "Scaling")),
        ({"pods": [], "filled": True, "empty_too_long": True}, ("False", "Scaling")),
        ({"pods": [], "replicas": 0}, ("True", "AllWarm")),
        ({"paused": True}, ("False", "Paused")),
        ({"pods": PODS[:1], "at_maximum": True}, ("False", "MaxSandboxesReached")),
        ({"pods": PODS[:1], "trouble": IMAGE}, ("False", "ImagePullBackOff")),
        ({"trouble": IMAGE}, ("True", "AllWarm")),
        ({"refused": "root"}, ("False", "InvalidTemplate")),
    ],
)
def test_full_says_whether_all_desired_sandboxes_are_warm(fields: dict[str, Any], full: tuple[str, str]) -> None:
    assert said(made(**fields), Condition.FULL) == full


def test_ready_tells_how_many_are_warm_whatever_it_is() -> None:
    for fields in ({}, {"pods": PODS[:1]}, {"pods": PODS[:1], "filled": True}, {"pods": [], "empty_too_long": True}):
        found = made(**fields).condition(Condition.READY)
        assert found is not None
        assert f"{len(fields.get('pods', PODS[:2]))} of 2 warm" in found["message"]


def test_a_pool_says_that_it_waits_after_failures_only_while_it_does() -> None:
    backoff = Backoff(4, 900.0, Reason.PROBE_FAILED, "no proof")
    held = made(pods=[], backoff=backoff, backoff_now=899.0)
    assert said(held, Condition.BACKING_OFF) == ("True", "ProbeFailed")
    assert said(made(pods=[], backoff=backoff, backoff_now=900.0), Condition.BACKING_OFF)[0] == "False"


def test_the_last_failure_is_remembered_after_the_operator_has_forgotten_it() -> None:
    failed = made(backoff=Backoff(1, 0.0, Reason.PROBE_FAILED, "bad\x1b[2J", 500.0))
    assert failed.dump()["lastFailure"] == {
        "reason": "ProbeFailed", "message": "bad [2J", "time": "1970-01-01T00:08:20.000000Z",
    }  # fmt: skip
    assert made(failed).last_failure == failed.last_failure
    assert "lastFailure" not in made().dump()


def test_isolation_is_unknown_until_a_sandbox_has_proven_it() -> None:
    for kind in (Condition.RUNTIME_ISOLATED, Condition.NETWORK_ENFORCED):
        assert said(made(), kind) == ("Unknown", "NotProvenYet")


def test_a_pools_status_is_read_as_it_was_written_and_one_that_makes_no_sense_counts_as_none() -> None:
    status = made(autoscale=AutoscaleFigures(claims_per_second="2", warm_up_seconds="1.5", replicas=9))
    assert statuses.read(status.dump()) == status
    assert status.dump()["autoscale"] == {"claimsPerSecond": "2", "warmUpSeconds": "1.5", "replicas": 9}
    assert statuses.read({**status.dump(), "ofANewerVersion": 1}) == status
    assert statuses.read({**status.dump(), "warmHits": "many"}) == PoolStatus()


def test_what_a_pool_no_longer_says_is_removed() -> None:
    before = made(reused=3)
    after = made(before)
    assert after.dump(before)["reused"] is None, "what is left out of a merge patch stays"
    assert "reused" not in after.dump(after)


def test_a_pool_that_cannot_be_read_keeps_what_was_said_and_says_why_it_stands_still() -> None:
    status = report.unreadable(made(), "spec.replicas: no number", 3, 1000.0)
    assert (status.replicas, status.warm_hits) == (2, 5)
    assert said(status, Condition.READY) == ("False", "InvalidSpec")
    assert said(status, Condition.STALLED) == ("True", "InvalidSpec")
    assert report.unreadable(status, "spec.replicas: no number", 3, 2000.0).same(status)
