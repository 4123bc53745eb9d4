"""Whatever a sandbox, a container or a user writes where we read: it is understood or it is nothing, never an error."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.api import model, names, untrusted
from sandyard.api.lifetime import Lifetime
from sandyard.api.objects import Pod
from sandyard.kube import remotecommand
from sandyard.pod import observe, proof, restart, termination
from sandyard.pool import recycle
from sandyard.sandbox import expiry, freeze, status, usage
from sandyard.sandbox.expiry import Terms
from tests.unit import objects

# Nested deeper than Python reads, numbers longer than it converts, digits that are none.
ODD = ["[" * 4096, "[" * 60_000, '{"a":' * 4096, "9" * 5000, '{"version": ' + "9" * 5000 + "}", "²", "1e999", "NaN",
       "null", "[]", '"\\ud800"', "\x00", "{" + '"a":1,' * 9000 + '"b":1}', "", '{"version": 1e999}']  # fmt: skip
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def _like(example: dict[str, Any]) -> st.SearchStrategy[str]:
    """Texts that are nearly what is expected: its keys, with anything in them."""
    return st.fixed_dictionaries({}, optional={key: _json | st.just(value) for key, value in example.items()}).map(
        json.dumps
    )


PROOF = {"version": 1, "runtime": "gvisor", "isolated": True, "network": "Enforced", "reached": [], "openSeconds": 0.1}
METADATA = {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1",
            "creationTimestamp": "2030-01-01T00:00:00Z"}  # fmt: skip
TERMS = {"lifetime": {"seconds": 5}, "maxLifetimeSeconds": 7}
_anything = st.sampled_from(ODD) | st.text() | _json.map(json.dumps)


@given(_anything | _like(PROOF))
def test_a_proof_is_one_or_none(message: str) -> None:
    found = proof.parse(message)
    assert found is None or (isinstance(found.isolated, bool) and found.open_seconds >= 0)


@pytest.mark.parametrize("wrong", [{"version": True}, {"isolated": 1}, {"isolated": "true"}, {"network": ["Enforced"]}])
def test_a_proof_that_is_nearly_one_proves_nothing(wrong: dict[str, Any]) -> None:
    found = proof.parse(json.dumps({**PROOF, **wrong}))
    assert found is None or not found.isolated


@given(_anything | _like(TERMS))
def test_terms_are_read_or_there_are_none(annotation: str) -> None:
    found = expiry.terms_of(None, annotation)
    assert found.max_seconds is None or isinstance(found.max_seconds, int)


@given(_anything, st.one_of(st.none(), st.integers()))
def test_a_pause_is_done_only_when_the_answer_says_so(text: str, code: int | None) -> None:
    for answer in (text, f"sandyard: stopped {text}", f"sandyard: left {text}"):
        found = freeze.read(code, answer.encode(errors="replace"), text, stopped=True)
        assert not found.done or (code == 0 and answer == f"sandyard: stopped {found.count}\n" and found.count > 0)


@given(_anything | _like({"at": 1.5, "before": {"sandbox": ["a", 0, 1.5]}}))
def test_a_restart_that_cannot_be_read_was_asked_for_long_ago(text: str) -> None:
    pod = msgspec.convert({"metadata": {**METADATA, "annotations": {names.ANNOTATION_RESTART: text}}}, Pod)
    request = restart.asked(pod)
    assert request is not None
    assert recycle.progress(pod, request, 30, 1e9).wait_seconds is None or request.at > 0


@given(_anything)
def test_uses_that_are_no_number_are_many(text: str) -> None:
    pod = msgspec.convert({"metadata": {**METADATA, "annotations": {names.ANNOTATION_USES: text}}}, Pod)
    assert recycle.uses(pod) >= 1


@given(_json | st.dictionaries(st.sampled_from(["containers", "timestamp"]), _json))
def test_a_use_is_understood_or_none(metrics: Any) -> None:
    for content in (metrics, {"containers": [{"name": "sandbox", "usage": metrics}], "timestamp": metrics}):
        if isinstance(content, dict):
            usage.read(content)


@pytest.mark.parametrize("cpu", ["1e99", "9" * 400, "nan", "-1", "²"])
def test_a_use_beyond_all_bounds_is_not_waited_for(cpu: str) -> None:
    usage.read({"containers": [{"name": "sandbox", "usage": {"cpu": cpu}}], "timestamp": "2030-01-01T00:00:00Z"})


TIMES = ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2030-01-31t12:00:00z",
         "2030-01-31T12:00:00+99:00", "2030-01-31T23:59:60Z", "2030-01-31", "tomorrow", ""]  # fmt: skip


@given(st.sampled_from(TIMES) | st.text() | st.none())
def test_a_time_is_a_number_or_none(text: str | None) -> None:
    found = model.moment(text)
    assert found is None or isinstance(found, float)


@given(st.sampled_from(TIMES) | st.text())
def test_no_deadline_exempts_from_the_pools_limit(deadline: str) -> None:
    found = expiry.expiry(Lifetime(deadline=deadline), Terms(max_seconds=60), ready_at=1000.0)
    assert found.at is not None
    assert found.at <= 1060.0


@pytest.mark.parametrize("deadline", ["2030-01-31T12:00:00+99:00", "2030-01-31T23:59:60Z", "soon"])
def test_a_deadline_that_cannot_be_read_ends_the_sandbox_and_says_so(deadline: str) -> None:
    found = expiry.expiry(Lifetime(deadline=deadline), Terms(), ready_at=None)
    assert found.at == 0.0
    assert deadline in found.message
    assert "2030-01-31T12:00:00Z" in found.message


@given(st.sampled_from(TIMES), st.sampled_from(TIMES), _anything)
def test_whatever_stands_in_a_pods_status_it_is_in_some_state(changed: str, started: str, message: str) -> None:
    ended = {"terminated": {"exitCode": 0, "message": message, "finishedAt": started}}
    pod = msgspec.convert({
        "metadata": {**METADATA, "annotations": {names.ANNOTATION_USES: message}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": changed}],
            "initContainerStatuses": [{"name": names.PROBE_CONTAINER, "state": ended},
                                      {"name": names.SETUP_CONTAINER, "state": {"running": {"startedAt": started}}}],
            "containerStatuses": [{"name": names.CONTAINER, "state": {"running": {"startedAt": started}}}],
        },
    }, Pod)  # fmt: skip
    assert observe.classify(pod, "None") in observe.PodState
    observe.ready_at(pod)
    observe.was_ready(pod)
    observe.setup_since(pod)
    termination.of(pod)


@given(st.sampled_from(TIMES))
def test_times_of_a_status_are_numbers_or_none(text: str) -> None:
    found = status.read({"readyAt": text, "lastActivityAt": text, "claimedAt": text})
    assert found.ready_seconds is None or isinstance(found.ready_seconds, float)
    assert found.active_seconds is None or isinstance(found.active_seconds, float)


@given(st.binary() | _anything.map(lambda text: text.encode(errors="replace"))
       | _like({"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "²"}]}})
       .map(str.encode))  # fmt: skip
def test_the_end_of_an_exec_is_an_exit_code_or_unknown(data: bytes) -> None:
    found = remotecommand.parse_status(data)
    assert found.code is None or isinstance(found.code, int)


@pytest.mark.parametrize("text", ODD)
def test_odd_text_is_no_number_and_an_object_at_most(text: str) -> None:
    assert untrusted.whole_number(text) is None
    assert isinstance(untrusted.fields(text), dict)


@pytest.mark.parametrize(
    "odd", [{"version": True}, {"version": 2}, {"version": "1"}, {"runtime": 5}, {"runtime": None}, {"network": {}}]
)
def test_a_proof_with_one_odd_word_is_none(odd: dict[str, Any]) -> None:
    assert proof.parse(objects.proof()) is not None
    assert proof.parse(objects.proof(**odd)) is None
