"""The engine's own small machines: store, queue, settings."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sandyard.api import names
from sandyard.engine.claims.claims import Claims
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.loops.workqueue import WorkQueue
from sandyard.engine.process import settings
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.state import records
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.podspec import pod as podspec
from tests.unit import objects

HASH = podspec.template_hash(objects.template(), objects.PROBE)


def parsed(version: int = 1, **spec: Any) -> records.AnyPool:
    body = {
        "metadata": {"name": "python", "namespace": "ns", "uid": "pool", "resourceVersion": str(version),
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"template": {"image": "python:3.11"}, **spec},
    }  # fmt: skip
    return records.pool(body, objects.PROBE)


def pool(version: int = 1, **spec: Any) -> records.PoolRecord:
    record = parsed(version, **spec)
    assert isinstance(record, records.PoolRecord)
    return record


def claims_of(store: Store, pods: Any) -> Claims:
    """Claims with queues that nobody runs."""
    return Claims(store, pods, Queues.make(WorkQueue, *[store.sandboxes.namespace_of] * 3), Metrics(), Clock())


def warm(uid: str, version: str = "1", ready_at: str = objects.READY_AT, **labels: str) -> Any:
    return objects.pod(uid, version=version, labels={names.LABEL_TEMPLATE_HASH: HASH, **labels})


def warmest(store: Store) -> Any:
    return next((store.pods[uid].pod for uid in store.pools["pool"].warm()), None)


def test_the_oldest_warm_pod_is_taken_first_and_only_once() -> None:
    store = Store(Clock())
    store.put_pool(pool())
    for uid in ("b", "a"):
        store.pod_changed(None, warm(uid))
    first = warmest(store)
    assert first is not None
    store.reserve(first.metadata.uid, "s1")
    second = warmest(store)
    assert second is not None
    assert {first.metadata.uid, second.metadata.uid} == {"a", "b"}
    store.reserve(second.metadata.uid, "s2")
    assert warmest(store) is None


def test_a_pod_of_another_template_is_not_taken() -> None:
    store = Store(Clock())
    store.put_pool(pool())
    store.pod_changed(None, warm("a"))
    changed = pool(2, template={"image": "python:3.12"})
    store.put_pool(changed)
    assert warmest(store) is None


def test_a_refused_pod_is_left_alone_until_it_is_seen_anew() -> None:
    store = Store(Clock())
    store.put_pool(pool())
    store.pod_changed(None, warm("a"))
    pod = warmest(store)
    assert pod is not None
    store.reserve("a", "s")
    store.release("a", "s", refused_version="1")
    assert warmest(store) is None
    store.pod_changed(pod, warm("a", version="2"))
    assert warmest(store) is not None


def test_an_older_version_never_replaces_a_newer_one() -> None:
    store = Store(Clock())
    assert store.put_pool(pool(5))
    assert not store.put_pool(pool(4))
    assert not store.put_pool(pool(5))
    assert store.pools["pool"].record.version == 5


def sandbox(version: int, uid: str = "s", **spec: Any) -> Any:
    metadata = {"name": "s", "namespace": "ns", "uid": uid, "resourceVersion": str(version), "generation": version,
                "creationTimestamp": "2030-01-01T00:00:00Z"}  # fmt: skip
    return records.sandbox({"metadata": metadata, "spec": {"poolRef": {"name": "pool"}, **spec}})


def test_a_reply_that_comes_after_what_the_watch_has_shown_changes_nothing() -> None:
    store = Store(Clock())
    written = sandbox(5)
    store.put_sandbox(written)
    store.put_sandbox(sandbox(8, desiredState="Paused"))
    assert not store.merge_sandbox(written, sandbox(7))
    assert store.sandboxes["s"].record.version == 8
    assert store.sandboxes["s"].record.spec.desired_state == "Paused"
    # One that is newer than all that was shown is taken in, and wakes for what others have changed.
    assert store.merge_sandbox(written, sandbox(9, desiredState="Suspended"))
    assert store.sandboxes["s"].record.spec.desired_state == "Suspended"


def test_the_end_of_a_sandbox_has_no_version_of_its_own_and_is_taken_in() -> None:
    store = Store(Clock())
    leaving = dataclasses.replace(sandbox(5), finalizers=(names.FINALIZER,), deletion_timestamp="2030-01-02T00:00:00Z")
    store.put_sandbox(leaving)
    store.merge_sandbox(leaving, dataclasses.replace(leaving, finalizers=()))
    assert store.sandboxes["s"].record.finalizers == ()
    # What the watch shows late is older.
    assert not store.put_sandbox(leaving)
    assert store.sandboxes["s"].record.finalizers == ()


def test_a_reply_about_one_that_is_gone_or_of_another_brings_nothing_back() -> None:
    store = Store(Clock())
    written = sandbox(5)
    assert not store.merge_sandbox(written, sandbox(6))
    assert "s" not in store.sandboxes
    store.put_sandbox(written)
    assert not store.merge_sandbox(written, sandbox(6, uid="namesake"))
    assert set(store.sandboxes) == {"s"}
    assert store.sandboxes["s"].record.version == 5


def test_a_written_claim_is_the_sandboxs_before_the_watch_shows_it() -> None:
    store = Store(Clock())
    store.put_pool(pool())
    store.pod_changed(None, warm("a"))
    store.reserve("a", "s")
    assert store.pods["a"].claim_under_way
    store.commit("a")
    assert not store.pods["a"].claim_under_way
    assert [pod.metadata.uid for pod in store.pods_of_sandbox("s")] == ["a"]
    # An update that was on its way before the claim must not undo it.
    store.pod_changed(store.pods["a"].pod, warm("a", version="2"))
    assert store.reserved_for("a") == "s"
    store.pod_changed(store.pods["a"].pod, warm("a", version="3", **{names.LABEL_SANDBOX_UID: "s"}))
    assert store.reserved_for("a") is None
    assert [pod.metadata.uid for pod in store.pods_of_sandbox("s")] == ["a"]


class ClaimsFromTheStore(RuleBasedStateMachine):
    """Whatever the order of pods, claims, refusals and echoes: one pod, one owner."""

    pods = Bundle("pods")
    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(Clock())
        self.pool = pool()
        self.store.put_pool(self.pool)
        self.count = 0
        self.owner: dict[str, str] = {}
        self.version = 1

    @rule(target=pods)
    def appears(self) -> str:
        self.count += 1
        uid = f"pod{self.count}"
        self.store.pod_changed(None, warm(uid))
        return uid

    @rule(target=taken)
    def takes(self) -> tuple[str, str]:
        pod = warmest(self.store)
        if pod is None:
            return ("", "")
        self.count += 1
        assert pod.metadata.uid not in self.owner, "handed out twice"
        owner = f"sandbox{self.count}"
        self.owner[pod.metadata.uid] = owner
        self.store.reserve(pod.metadata.uid, owner)
        return (pod.metadata.uid, owner)

    @rule(claim=consumes(taken), succeeds=st.booleans())
    def writes(self, claim: tuple[str, str], succeeds: bool) -> None:
        uid, owner = claim
        if uid not in self.store.pods:
            return
        before = self.store.pods[uid].pod
        self.version += 1
        if succeeds:
            self.store.commit(uid)
            echo = warm(uid, version=str(self.version), **{names.LABEL_SANDBOX_UID: owner})
            self.store.pod_changed(before, echo)
        else:
            self.store.release(uid, owner, refused_version=before.metadata.resource_version)
            del self.owner[uid]
            self.store.pod_changed(before, warm(uid, version=str(self.version)))

    @rule(uid=pods)
    def is_seen_again(self, uid: str) -> None:
        entry = self.store.pods.get(uid)
        before = entry.pod if entry is not None else None
        if before is not None and names.LABEL_SANDBOX_UID not in before.metadata.labels:
            self.version += 1
            self.store.pod_changed(before, warm(uid, version=str(self.version)))

    @rule(uid=pods)
    def disappears(self, uid: str) -> None:
        entry = self.store.pods.get(uid)
        if entry is not None:
            self.store.pod_changed(entry.pod, None)
            self.owner.pop(uid, None)

    @invariant()
    def owners_are_known(self) -> None:
        for uid, owner in self.owner.items():
            if uid in self.store.pods:
                assert uid in {pod.metadata.uid for pod in self.store.pods_of_sandbox(owner)}


TestClaimsFromTheStore = ClaimsFromTheStore.TestCase


async def test_a_key_is_handled_by_one_worker_at_a_time_and_again_if_added_meanwhile() -> None:
    running, most, handled = 0, 0, 0
    done = asyncio.Event()

    async def handle(_key: str) -> None:
        nonlocal running, most, handled
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        handled += 1
        if handled == 2:
            done.set()

    queue = WorkQueue("test", workers=4)
    queue.active = True
    task = asyncio.create_task(queue.run(handle))
    queue.add("a")
    queue.add("a")
    await asyncio.sleep(0.005)
    queue.add("a")
    queue.add("a")
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0.03)
    task.cancel()
    assert (most, handled) == (1, 2)


async def test_a_failed_key_comes_back_and_others_go_on() -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def handle(key: str) -> None:
        seen.append(key)
        if key == "bad" and seen.count("bad") < 3:
            raise errors.TransportError("cut off")
        if seen.count("bad") == 3 and "good" in seen:
            done.set()

    queue = WorkQueue("test", workers=1)
    queue.active = True
    task = asyncio.create_task(queue.run(handle))
    queue.add("bad")
    queue.add("good")
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    assert seen.index("good") < 2
    assert queue.failures_total == 2


async def test_a_standby_drops_its_keys() -> None:
    queue = WorkQueue("test", workers=1)
    queue.add("a")
    assert queue.idle


async def test_a_crowd_in_one_namespace_does_not_delay_another() -> None:
    order: list[str] = []

    async def handle(key: str) -> None:
        order.append(key)

    queue = WorkQueue("test", workers=1, group=lambda key: key[0])
    queue.active = True
    for key in ("a1", "a2", "a3", "b1", "a4", "c1", "c2"):
        queue.add(key)
    assert len(queue) == 7
    work = asyncio.create_task(queue.run(handle))
    async with asyncio.timeout(5):
        while not queue.idle:
            await asyncio.sleep(0)
    work.cancel()
    assert order == ["a1", "b1", "c1", "a2", "c2", "a3", "a4"]


def test_settings_say_which_variable_makes_no_sense() -> None:
    loaded = settings.load({"SANDYARD_WATCH_NAMESPACES": "a, b", "SANDYARD_POLICY": '{"allowRoot": true}'})
    assert loaded.namespaces == ("a", "b")
    assert loaded.policy.of("a").allow_root
    for name, value in {"POLICY": "yes", "HTTP_PORT": "x", "ISOLATION_NETWORK": "Off"}.items():
        with pytest.raises(settings.SettingsError, match=f"SANDYARD_{name}"):
            settings.load({f"SANDYARD_{name}": value})


def test_a_spec_that_cannot_be_parsed_is_told_by_its_field() -> None:
    broken = parsed(template={"image": "x", "resources": {"cpu": "lots"}})
    assert isinstance(broken, records.UnreadablePool)
    assert "spec.template.resources.cpu" in broken.invalid


async def test_a_claim_that_is_being_written_is_not_granted_a_second_pod() -> None:
    """It still stands in its pool's queue while the write is under way."""
    store, under_way, go_on = Store(Clock()), asyncio.Event(), asyncio.Event()

    class SlowPods:
        async def claim(self, *_claim: Any) -> None:
            under_way.set()
            await go_on.wait()

    record = pool()
    store.put_pool(record)
    claims = claims_of(store, SlowPods())
    waiting: Any = SimpleNamespace(uid="s1", name="s1")
    assert await claims.claim(waiting, record, cold=True) is None
    store.pod_changed(None, warm("a"))
    claims.serve(record.uid)
    write = asyncio.create_task(claims.claim(waiting, record, cold=True))
    await asyncio.wait_for(under_way.wait(), 5)
    store.pod_changed(None, warm("b"))
    claims.serve(record.uid)
    go_on.set()
    claimed = await write
    assert claimed is not None
    assert claimed.metadata.uid == "a"
    assert store.reserved_for("b") is None, "a second pod was set aside for it"
    assert claims.waiting(record.uid) == 0


async def test_a_pod_that_was_deleted_after_it_was_set_aside_is_not_handed_out() -> None:
    store, written = Store(Clock()), []

    class RecordingPods:
        async def claim(self, pod: Any, *_claim: Any) -> None:
            written.append(pod.metadata.uid)

    record = pool()
    store.put_pool(record)
    claims = claims_of(store, RecordingPods())
    waiting: Any = SimpleNamespace(uid="s1", name="s1")
    assert await claims.claim(waiting, record) is None
    store.pod_changed(None, warm("a"))
    claims.serve(record.uid)
    going = objects.pod("a", version="2", labels={names.LABEL_TEMPLATE_HASH: HASH}, deletion="2026-01-01T00:00:20Z")
    store.pod_changed(warm("a"), going)
    store.pod_changed(None, warm("b"))
    claimed = await claims.claim(waiting, record)
    assert claimed is not None
    assert (claimed.metadata.uid, written) == ("b", ["b"])
