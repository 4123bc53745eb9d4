"""How a Sandbox gets its pod: a warm one, one that starts for it, or a place in the queue."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sandyard.api.reasons import Phase, Reason
from sandyard.api.sandbox import SandboxSpec
from sandyard.podspec.bounds import Bounds
from sandyard.podspec.foreign import Exposure
from sandyard.sandbox import decide, steps
from sandyard.sandbox.status import Status
from sandyard.sandbox.view import Claim, PoolFacts, Refusal
from tests.unit.views import (
    NOW,
    PERSISTENT,
    answered,
    pool,
    reason,
    spec,
    view,
    words,
)


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


def test_the_patience_of_a_pool_begins_with_the_pool() -> None:
    """Whoever has waited for the pool itself for an hour has not waited for a place in it."""
    new = dataclasses.replace(pool(), created_at=NOW - 3)
    late = answered(view(pool=new, waited_seconds=4000.0, claim=Claim(4000.0, 0, open=True)), claim_tried=True)
    assert reason(decide.decide(late)) == "WaitingForPool"
    assert reason(decide.decide(dataclasses.replace(late, now=NOW + 60))) == "PoolExhausted"


def test_the_patience_of_a_cold_start_begins_with_the_pool() -> None:
    new = dataclasses.replace(pool(), created_at=NOW - 3)
    late = view(pool=new, spec=spec(env=[{"name": "A", "value": "1"}]), waited_seconds=4000.0)
    assert decide.decide(late).reason == "starts"
    assert reason(decide.decide(dataclasses.replace(late, now=NOW + 4000))) == "StartTimeout"


def test_a_sandbox_s_own_patience_begins_with_itself() -> None:
    new = dataclasses.replace(pool(), created_at=NOW - 3)
    late = view(pool=new, spec=spec(waitSeconds=60), waited_seconds=61.0, claim=Claim(61.0, 0, open=True))
    assert reason(decide.decide(answered(late, claim_tried=True))) == "PoolExhausted"


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


OPENED = Exposure(("allow-all",), withholds=True)


@pytest.mark.parametrize("why", [{"exposure": OPENED}, {"older": 3, "bounds": Bounds(max_sandboxes=3)}])
def test_who_may_have_no_pod_now_keeps_no_place_in_the_queue(why: dict[str, Any]) -> None:
    """A pod would be set aside for it, and others would wait."""
    waits = view(**why, waits=True, claim=Claim(1.0, 0, open=True))
    step = decide.decide(waits)
    assert (words(step), step.again) == ([steps.StopWaiting], True)
    left = decide.decide(dataclasses.replace(waits, waits=False, claim=Claim()))
    assert (words(left), left.status is not None and left.status.phase) == ([], Phase.PENDING)


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


def test_a_start_that_finds_no_room_waits_or_is_rejected_as_its_pool_says() -> None:
    own = {"spec": spec(env=[{"name": "A", "value": "1"}])}
    for action, told in (("Reject", "PoolExhausted"), ("Wait", "MaxSandboxesReached")):
        full = view(pool=pool(whenEmpty={"action": action}), **own)
        assert reason(decide.decide(answered(full, no_room=True))) == told


def test_a_claim_that_a_busy_server_puts_off_ends_in_time_all_the_same() -> None:
    busy = Refusal(Reason.POD_REFUSED, "later", retry_after_seconds=600.0)
    waits = view(spec=spec(waitSeconds=30), waited_seconds=20.0)
    assert decide.decide(answered(waits, claim_tried=True, claim_refused=busy)).requeue_after == 10.0
    late = dataclasses.replace(waits, waited_seconds=30.0)
    assert reason(decide.decide(answered(late, claim_tried=True, claim_refused=busy))) == "PodRefused"


def test_a_wider_network_comes_with_the_claim_and_a_forbidden_one_with_nothing() -> None:
    own = spec(network={"egress": "Internet"})
    step = decide.decide(view(spec=own, pool=pool(allowedEgress=["Internet"])))
    claim = step.actions[0]
    assert isinstance(claim, steps.ClaimWarmPod)
    assert claim.reach is not None
    assert claim.reach.network.egress == "Internet"
    assert reason(decide.decide(view(spec=own))) == "EgressNotAllowed"


def test_a_template_of_its_own_takes_a_network_of_its_own() -> None:
    own = SandboxSpec.model_validate({"template": {"image": "a"}, "network": {"egress": "Internet"}})
    (start,) = decide.decide(view(spec=own, pool=None, pool_name=None)).actions
    assert isinstance(start, steps.StartPod)
    assert start.template.network.egress == "Internet"


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
