"""Which used pods are restarted for the next Sandbox, and what is believed of a restart."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.api.pool import PoolSpec
from sandyard.engine.cluster.isolation import Version
from sandyard.engine.loops.clock import Clock
from sandyard.engine.sandboxes.reuse import Reuse
from sandyard.engine.state import records
from sandyard.engine.state.store import Store
from sandyard.pod import restart
from sandyard.pool import recycle
from tests.unit import objects

CLAIMED = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: "s"}
READY = {"readyAt": "2026-01-01T00:01:00Z"}
ASKED = "2026-01-01T00:05:00Z"
ASKED_AT = model.seconds(ASKED)
BEFORE, AFTER = "2026-01-01T00:00:05Z", "2026-01-01T00:05:01Z"


def container(name: str, number: int = 0, started: str = BEFORE, **fields: Any) -> dict[str, Any]:
    """The status of a container that has been started *number* times before."""
    lasting = name in (names.CONTAINER, names.RESTART_CONTAINER)
    state = {"running": {"startedAt": started}}
    if not lasting:
        state = {"terminated": {"startedAt": started, "exitCode": 0, "message": objects.proof()}}  # type: ignore[dict-item]
    known = {"name": name, "containerID": f"{name}-{number}", "restartCount": number, "ready": True, "state": state}
    return {**known, **fields}


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ({"major": "1", "minor": "36", "gitVersion": "v1.36.2"}, (1, 36)),
        ({"major": "1", "minor": "36+", "gitVersion": "v1.36.2-eks"}, (1, 36)),
        ({"major": "", "minor": "x"}, (0, 0)),
        ({}, (0, 0)),
    ],
)
def test_a_version_is_read_as_clouds_write_it_and_one_that_is_none_is_old(
    answer: dict[str, str], numbers: tuple[int, int]
) -> None:
    found = Version.of(answer)
    assert (found.major, found.minor) == numbers
    assert found.text == answer.get("gitVersion", "of an unknown version")


FIRST = (names.PROBE_CONTAINER, names.CLEAN_CONTAINER, names.RESTART_CONTAINER)


def used(number: int = 0, started: str = BEFORE, changed: dict[str, Any] | None = None, **fields: Any) -> Pod:
    """A claimed pod whose containers have been started anew *number* times; *changed*: statuses by name."""
    each = {name: container(name, number, started) for name in (*FIRST, names.CONTAINER)}
    for name, change in (changed or {}).items():
        each[name] = {**each[name], **change}
    main = each.pop(names.CONTAINER)
    return objects.pod(**{"labels": CLAIMED, "containers": [main], "init": list(each.values()), **fields})


def with_memory(memory: Any, *, isolated: bool = True) -> Pod:
    """A restarted pod whose cleaner has found so much memory in use."""
    said = {
        names.CLEAN_CONTAINER: json.dumps({"memoryKiB": memory}),
        names.PROBE_CONTAINER: objects.proof(isolated=isolated),
    }
    ends = {name: {"startedAt": AFTER, "exitCode": 0, "message": text} for name, text in said.items()}
    return used(1, AFTER, {name: {"state": {"terminated": end}} for name, end in ends.items()})


REQUEST = restart.Request(
    ASKED_AT,
    {name: restart.Before(f"{name}-0", 0, model.seconds(BEFORE)) for name in (*FIRST, names.CONTAINER)},
    tuple(objects.LIMITS),
    20000,
)


def spec(**fields: Any) -> PoolSpec:
    content = {"recycle": "Restart", "restart": {"maxUses": 3}, "template": {"image": "a"}, **fields}
    return PoolSpec.model_validate(content)


@pytest.mark.parametrize(
    ("pod", "pool", "status", "told"),
    [
        ({}, {}, READY, ""),
        ({}, {"recycle": "Delete"}, READY, "does not recycle"),
        ({"labels": {**CLAIMED, names.LABEL_STATE: names.STATE_COLD}}, {}, READY, "for its Sandbox alone"),
        ({"labels": {**CLAIMED, names.LABEL_TEMPLATE_HASH: "old"}}, {}, READY, "template has changed"),
        ({"labels": {**CLAIMED, names.LABEL_EGRESS: "Internet"}}, {}, READY, "network"),
        ({"labels": {**CLAIMED, names.LABEL_ALLOW: "x"}}, {}, READY, "network"),
        ({}, {"restart": {"maxUses": 1}}, READY, "1 times"),
        ({}, {}, {}, "not ready"),
        ({"ready": False}, {}, READY, "not ready"),
        ({"deletion": "2026-01-01T00:02:00Z"}, {}, READY, "being deleted"),
        ({"number": 1}, {}, READY, "nobody had asked"),
        ({"conditions": [{"type": "AllContainersRestarting", "status": "True"}]}, {}, READY, "nobody had asked"),
        ({"init": [container(names.PROBE_CONTAINER)]}, {}, READY, "no container that could restart it"),
        ({"changed": {names.CONTAINER: {"state": {"terminated": {"exitCode": 0}}}}}, {}, READY, "main process"),
        # What restarts it may be started anew by itself: nothing of the tenant's is touched by that.
        ({"changed": {names.RESTART_CONTAINER: {"restartCount": 1}}}, {}, READY, ""),
    ],
)  # fmt: skip
def test_what_is_not_as_the_pool_has_it_is_not_used_again(
    pod: dict[str, Any], pool: dict[str, Any], status: dict[str, Any], told: str
) -> None:
    why = recycle.obstacle(used(**pod), "readyAt" in status, spec(**pool), "hash")
    assert told in why
    assert bool(told) is bool(why)


def test_all_containers_anew_are_evidence() -> None:
    assert restart.evidence(used(1, AFTER), REQUEST) == restart.Evidence()
    assert recycle.progress(used(1, AFTER), REQUEST, 30, ASKED_AT + 2) == recycle.Progress()


@pytest.mark.parametrize(
    "limits", [[77, 777, -1, -1], [20000, 20000], [], None, "20000", [20000, 20000, -1, "-1"], [True] * 4, [1] * 100]
)
def test_limits_that_outlive_a_restart_cost_the_pod(limits: Any) -> None:
    """GVisor has one set of them for a pod, which any process in it can lower."""
    ended = {"terminated": {"startedAt": AFTER, "exitCode": 0, "message": objects.proof(limits=limits)}}
    after = used(1, AFTER, {names.PROBE_CONTAINER: {"state": ended}})
    assert "limits" in restart.evidence(after, REQUEST).odd


def test_the_limits_of_the_proof_before_are_kept_with_what_is_asked_for() -> None:
    request = restart.asked(annotated(used(), {names.ANNOTATION_RESTART: restart.ask(used(), ASKED_AT)}))
    assert request is not None
    assert request.limits == tuple(objects.LIMITS)
    nobody_knows = restart.Request(request.at, request.before)
    assert "limits" in restart.evidence(used(1, AFTER), nobody_knows).odd


@pytest.mark.parametrize("memory", [21025, 2**40, None, -1, "20000", True, [20000]])
def test_memory_that_outlives_a_restart_costs_the_pod(memory: Any) -> None:
    """Nobody sees a file system in a mount namespace that holds itself; gVisor counts it."""
    assert "KiB of memory" in restart.evidence(with_memory(memory), REQUEST).odd


@pytest.mark.parametrize("memory", [21024, 20000, 0])
def test_memory_that_is_as_free_as_before_keeps_the_pod(memory: int) -> None:
    assert restart.evidence(with_memory(memory), REQUEST) == restart.Evidence()


def test_a_nodes_own_memory_is_no_matter_of_the_pods() -> None:
    assert restart.evidence(with_memory(2**40, isolated=False), REQUEST) == restart.Evidence()


def test_the_memory_before_is_kept_with_what_is_asked_for() -> None:
    request = restart.asked(annotated(used(), {names.ANNOTATION_RESTART: restart.ask(used(), ASKED_AT)}))
    assert request is not None
    assert request.memory_kib == 20000
    nobody_knows = restart.Request(request.at, request.before, request.limits)
    assert "None KiB" in restart.evidence(used(1, AFTER), nobody_knows).odd


@pytest.mark.parametrize("name", [*FIRST, names.CONTAINER])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"containerID": "NAME-0"}, "not been started anew"),
        ({"containerID": ""}, "not been started anew"),
        ({"restartCount": 0}, "counts no more restarts"),
        ({"state": {"waiting": {"reason": "RestartingAllContainers"}}}, "not been started anew"),
        ({"state": {"running": {"startedAt": BEFORE}}}, "no later than the one before it"),
        ({"state": {"running": {"startedAt": "2026-01-01T00:00:04Z"}}}, "no later than the one before it"),
        ({"state": {"running": {"startedAt": "yesterday"}}}, "not been started anew"),
        ({"state": {"running": {}}}, "not been started anew"),
        ({"state": {"terminated": {"exitCode": 1, "startedAt": AFTER}}}, "ended with exit code 1"),
    ],
)
def test_one_container_without_evidence_is_none_for_the_pod(name: str, change: dict[str, Any], told: str) -> None:
    fields = {key: value.replace("NAME", name) if isinstance(value, str) else value for key, value in change.items()}
    shown = restart.evidence(used(1, AFTER, {name: fields}), REQUEST)
    assert told in (shown.odd or shown.missing)
    assert recycle.progress(used(1, AFTER, {name: fields}), REQUEST, 30, ASKED_AT + 30).why


@pytest.mark.parametrize("name", [*FIRST, names.CONTAINER])
def test_a_container_that_is_not_shown_is_no_evidence(name: str) -> None:
    shown = used(1, AFTER)
    kinds = ("init_container_statuses", "container_statuses")
    for kind in kinds:
        getattr(shown.status, kind)[:] = [item for item in getattr(shown.status, kind) if item.name != name]
    assert restart.evidence(shown, REQUEST).missing
    more = restart.Request(ASKED_AT, {**REQUEST.before, "another": restart.Before("a", 0, 0.0)})
    assert restart.evidence(used(1, AFTER), more).missing


@pytest.mark.parametrize("hours", [-5, 5], ids=["behind", "ahead"])
def test_a_nodes_clock_is_compared_with_itself_only(hours: int) -> None:
    first, second = (model.timestamp(model.seconds(ASKED) + 3600 * hours + after)[:19] + "Z" for after in (-60, 1))
    asked = restart.asked(annotated(used(0, first), {names.ANNOTATION_RESTART: restart.ask(used(0, first), ASKED_AT)}))
    assert asked is not None
    assert restart.evidence(used(1, second), asked) == restart.Evidence()
    assert "no later" in restart.evidence(used(1, first), asked).odd


def test_what_had_ended_before_the_request_is_followed_by_a_start_after_its_end() -> None:
    """The proof of the first start; its end is the last that was told of it."""
    ended = {"state": {"terminated": {"startedAt": BEFORE, "finishedAt": "2026-01-01T00:00:09Z", "exitCode": 0,
                                      "message": objects.proof()}}}  # fmt: skip
    asked = restart.asked(annotated(used(), {names.ANNOTATION_RESTART: restart.ask(
        used(changed={names.PROBE_CONTAINER: ended}), ASKED_AT)}))  # fmt: skip
    assert asked is not None
    within = {"state": {"terminated": {"startedAt": "2026-01-01T00:00:09Z", "exitCode": 0}}}
    assert "no later" in restart.evidence(used(1, AFTER, {names.PROBE_CONTAINER: within}), asked).odd
    assert restart.evidence(used(1, AFTER), asked) == restart.Evidence()


def test_a_container_of_which_no_time_was_told_gives_no_evidence() -> None:
    untold = used(changed={names.RESTART_CONTAINER: {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}})
    asked = restart.asked(annotated(untold, {names.ANNOTATION_RESTART: restart.ask(untold, ASKED_AT)}))
    assert asked is not None
    assert restart.evidence(used(1, AFTER), asked).missing


@pytest.mark.parametrize("name", [names.RESTART_CONTAINER, names.CONTAINER])
def test_what_should_run_and_has_ended_again_speaks_against_it(name: str) -> None:
    ended = {"state": {"terminated": {"exitCode": 0, "startedAt": AFTER}}}
    assert "ended with exit code 0" in restart.evidence(used(1, AFTER, {name: ended}), REQUEST).odd


def test_what_the_cleaner_found_is_told_before_the_pod_has_failed() -> None:
    left = {"state": {"terminated": {"exitCode": 1, "message": "left behind: /tmp/x", "startedAt": AFTER}}}
    assert "left behind: /tmp/x" in restart.evidence(used(1, AFTER, {names.CLEAN_CONTAINER: left}), REQUEST).odd


def test_a_pod_that_has_failed_says_what_kept_it() -> None:
    left = {"state": {"terminated": {"exitCode": 1, "message": "left behind: /tmp/x", "startedAt": AFTER}}}
    shown = used(1, AFTER, {names.CLEAN_CONTAINER: left}, phase="Failed")
    assert "left behind: /tmp/x" in recycle.progress(shown, REQUEST, 30, ASKED_AT).why


@pytest.mark.parametrize(
    ("pod", "after_seconds", "wait", "told"),
    [
        ({}, 0, 30, ""),
        ({}, 29.5, 0.5, ""),
        ({}, 30, None, "not proven within 30 s: container sandyard-probe has not been started anew"),
        ({"number": 1, "started": AFTER}, 30, None, "came too late"),
        ({"number": 1, "started": AFTER, "ready": False}, 5, 25, ""),
        ({"number": 1, "started": AFTER, "ready": False}, 31, None, "not ready yet"),
        # A clock that was set back.
        ({}, -3600, None, "not proven within"),
    ],
)
def test_a_restart_is_waited_for_as_long_as_it_may_take(
    pod: dict[str, Any], after_seconds: float, wait: float | None, told: str
) -> None:
    found = recycle.progress(used(**pod), REQUEST, 30, ASKED_AT + after_seconds)
    assert found.wait_seconds == wait
    assert told in found.why
    assert bool(told) is bool(found.why)


def test_what_is_asked_for_is_read_as_it_was_written() -> None:
    text = restart.ask(used(), ASKED_AT)
    assert restart.asked(used()) is None
    pod = annotated(used(), {names.ANNOTATION_RESTART: text})
    assert restart.asked(pod) == REQUEST


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"at": "now", "before": {}}', '{"at": 1e999, "before": {}}', '{"at": NaN}',
             json.dumps({"at": ASKED_AT, "before": []}), "[" * 60000],
)  # fmt: skip
def test_a_request_that_cannot_be_read_is_over(text: str) -> None:
    request = restart.asked(annotated(used(1, AFTER), {names.ANNOTATION_RESTART: text}))
    assert request is not None
    assert recycle.progress(used(1, AFTER), request, 30, ASKED_AT).why


def annotated(pod: Pod, annotations: dict[str, str]) -> Pod:
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, annotations=annotations))


@pytest.mark.parametrize(
    ("known", "number", "unasked"), [("0", 0, False), ("1", 1, False), ("1", 2, True), ("x", 1, True)]
)
def test_a_restart_beyond_those_that_were_asked_for_is_nobodys(known: str, number: int, unasked: bool) -> None:
    assert restart.unasked(annotated(used(number), {names.ANNOTATION_RESTARTS: known})) is unasked


NOT_FOUND = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}


@pytest.mark.parametrize(
    ("phase", "state", "unasked"),
    [("Running", NOT_FOUND, False), ("Failed", NOT_FOUND, False), ("Failed", {"running": {}}, False),
     ("Running", {"running": {}}, True), ("Running", {"terminated": {"exitCode": 137, "reason": "Error"}}, True)],
)  # fmt: skip
def test_a_container_that_the_kubelet_no_longer_finds_was_not_restarted(
    phase: str, state: dict[str, Any], unasked: bool
) -> None:
    """Evicting a pod, the kubelet counts one start more of what it has just ended."""
    pod = used(0, changed={names.CONTAINER: {"restartCount": 1, "state": state}}, phase=phase)
    assert restart.unasked(pod) is unasked


def test_the_former_words_are_read_for_one_release_more() -> None:
    former = spec(recycle="Scrub", restart=None, scrub={"timeoutSeconds": 7, "maxUses": 2})
    assert (former.recycle, former.restarting.timeout_seconds, former.restarting.max_uses) == ("Restart", 7, 2)
    both = spec(restart={"maxUses": 5}, scrub={"maxUses": 2})
    assert both.restarting.max_uses == 5
    assert (spec(restart=None).restarting.timeout_seconds, spec(restart=None).restarting.max_uses) == (30, 10)


@pytest.mark.parametrize(
    ("sandbox", "pool", "enabled", "wanted"),
    [
        ({}, {}, True, True),
        ({}, {}, False, False),
        ({"network": {"egress": "None"}}, {}, True, False),
        ({}, {"paused": True}, True, False),
        ({}, {"recycle": "Delete"}, True, False),
    ],
)
def test_only_an_open_pool_gets_its_pods_back(
    sandbox: dict[str, Any], pool: dict[str, Any], enabled: bool, wanted: bool
) -> None:
    times = {"namespace": "ns", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    body = {"metadata": {"name": "python", "uid": "pool", **times},
            "spec": {"recycle": "Restart", "restart": {"maxUses": 3}, "template": {"image": "a"}, **pool}}  # fmt: skip
    record = records.pool(body, objects.PROBE, no_restart="" if enabled else "this is v1.35.0")
    assert isinstance(record, records.PoolRecord)
    store = Store(Clock())
    store.put_pool(record)
    pod = used(labels={**CLAIMED, names.LABEL_TEMPLATE_HASH: record.template_hash})
    store.pod_changed(None, pod)
    unused: Any = None
    reuse = Reuse(store, unused, unused, unused, unused, unused)
    whose = records.sandbox({"metadata": {"name": "s", "uid": "s", **times}, "status": READY,
                             "spec": {"poolRef": {"name": "python"}, **sandbox}})  # fmt: skip
    assert (reuse.wanted(whose, pod) is not None) is wanted


def test_a_pod_whose_main_container_the_kubelet_does_not_tell_of_is_not_used_again() -> None:
    pod = msgspec.structs.replace(used(), status=msgspec.structs.replace(used().status, container_statuses=[]))
    pool = PoolSpec.model_validate({"recycle": "Restart", "template": {"image": "a"}})
    assert recycle.obstacle(used(), True, pool, "hash") == ""
    assert recycle.obstacle(pod, True, pool, "hash") == "its main process has ended"


def test_why_a_restarted_pod_has_failed_is_told_though_the_rest_of_it_never_began() -> None:
    ended = {"state": {"terminated": {"startedAt": AFTER, "exitCode": 1, "message": "left behind: /tmp/x"}}}
    waits = {"state": {"waiting": {"reason": "PodInitializing"}}}
    changed = {names.PROBE_CONTAINER: waits, names.CLEAN_CONTAINER: ended, names.CONTAINER: waits}
    odd = restart.evidence(used(1, AFTER, changed, phase="Failed"), REQUEST).odd
    assert f"it is Failed: {names.CLEAN_CONTAINER} ended with exit code 1: left behind: /tmp/x" in odd
