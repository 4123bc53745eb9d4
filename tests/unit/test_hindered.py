"""Requests that fail again and again: told on the Sandbox within five seconds, and no reason to wait for ever."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from sandyard.kube import errors
from tests.unit import simulated_wire
from tests.unit.claim_steps import status
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World, until

# A webhook that is away has the API server answer 500; one that refuses may choose the code.
FAULTS = ("failing", "unavailable", "timeout", "forbidden", "invalid", "throttled", "bad")
REFUSALS = ("forbidden", "invalid", "bad")
TELLS_SECONDS = 5.0
OWN = [{"name": "A", "value": "1"}]


def says(world: World, kind: str, name: str = "s1") -> dict[str, Any]:
    return dict(condition(world.api.objects["sandboxes", name], kind) or {})


def fails(world: World, fault: str, *writes: str) -> None:
    for what in writes:
        world.api.targeted[what].extend([fault] * 10000)


def told(world: World, fault: str, *kinds: str) -> bool:
    """Whether a condition says what the API server has said; what only fails is on its way for a while."""
    found = [says(world, kind) for kind in kinds or ("Stalled", "Reconciling")]
    words = simulated_wire.ANSWERS[fault][2]
    return any(item.get("status") == "True" and words in item["message"] for item in found)


def ready(world: World, **spec: Any) -> None:
    world.claim("s1", **spec)
    until(world, lambda: status(world, "s1").get("phase") == "Ready", 10)


def gone(world: World) -> bool:
    return ("sandboxes", "s1") not in world.api.objects


# Who waits for a pod


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("env", [None, OWN])
def test_who_gets_no_pod_because_every_write_of_one_fails_is_told_and_waits_no_longer_than_it_may(
    fault: str, env: Any
) -> None:
    world = World(wait_seconds=20)
    world.prompt(4)
    fails(world, fault, "claim", "network", "create")
    world.claim("s1", **({"env": env, "waitSeconds": 20} if env else {}))
    until(world, lambda: told(world, fault), TELLS_SECONDS)
    assert status(world, "s1")["phase"] == "Pending"
    until(world, lambda: status(world, "s1")["phase"] == "Failed", 25)
    assert simulated_wire.ANSWERS[fault][2] in says(world, "Finished")["message"]
    world.api.no_more_faults()
    world.claim("s2")
    until(world, lambda: status(world, "s2").get("phase") == "Ready", 10)
    world.close()


def test_a_failure_of_a_moment_is_not_told(world: World) -> None:
    for what in ("claim", "network", "status", "ready"):
        world.api.targeted[what].extend(["failing"] * 2)
    ready(world)
    assert not [write for write in world.api.sent if "RequestFailed" in str(write.body)]


def test_whose_status_cannot_be_written_is_told_by_an_event(world: World) -> None:
    fails(world, "invalid", "ready", "status")
    world.claim("s1")
    # Nobody posts them here.
    recorded: deque[dict[str, Any]] = world.operator.work._recorder._queue._queue  # type: ignore[attr-defined]
    until(world, lambda: any(body["reason"] == "RequestFailed" and body["involvedObject"]["name"] == "s1"
                             for body in recorded), TELLS_SECONDS)  # fmt: skip
    world.api.no_more_faults()
    until(world, lambda: status(world, "s1").get("phase") == "Ready", 10)


# Who has one


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_asked_of_a_running_sandbox_and_refused_is_told_and_harms_it_not(fault: str) -> None:
    world = World(shape="persistent")
    world.prompt(4)
    fails(world, fault, "workspace")
    ready(world)
    until(world, lambda: told(world, fault), TELLS_SECONDS)
    assert told(world, fault, "Stalled") == (fault in REFUSALS)
    until(world, lambda: told(world, fault, "Stalled"), 30)
    assert (status(world, "s1")["phase"], says(world, "Ready")["status"]) == ("Ready", "True")
    world.api.no_more_faults()
    until(world, lambda: {says(world, kind)["status"] for kind in ("Stalled", "Reconciling")} == {"False"}, 10)
    assert "workspaceClaim" in status(world, "s1")
    world.close()


@pytest.mark.parametrize("fault", ["failing", "forbidden"])
def test_a_suspension_whose_pod_may_not_be_deleted_says_so(fault: str) -> None:
    world = World(shape="persistent")
    world.prompt(4)
    ready(world)
    world.prompt(4)
    fails(world, fault, "delete")
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Suspended"}})
    until(world, lambda: told(world, fault), TELLS_SECONDS)
    world.api.no_more_faults()
    until(world, lambda: status(world, "s1")["phase"] == "Suspended", 10)
    assert says(world, "Stalled")["status"] == "False"
    world.close()


def test_a_sandbox_that_may_not_be_deleted_when_its_time_is_over_says_so(world: World) -> None:
    ready(world, lifetime={"seconds": 5})
    fails(world, "forbidden", "expire")
    world.now += 5
    until(world, lambda: told(world, "forbidden"), TELLS_SECONDS)
    world.api.no_more_faults()
    until(world, lambda: gone(world), 10)


def test_one_that_is_paused_stays_known_as_paused_whatever_fails() -> None:
    """By its reason it is known that its processes are stopped."""
    world = World()
    world.prompt(4)
    ready(world, lifetime={"seconds": 20})
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Paused"}})
    until(world, lambda: status(world, "s1")["phase"] == "Paused", 10)
    fails(world, "failing", "expire")
    world.now += 20
    until(world, lambda: told(world, "failing", "Stalled"), 30)
    assert says(world, "Reconciling")["reason"] == "Paused"
    world.close()


@pytest.mark.parametrize("crashes", [False, True])
def test_what_was_told_is_taken_back_once_all_is_well_by_another_process_too(world: World, crashes: bool) -> None:
    """One that is paused stays as it is, and says nothing else by itself."""
    ready(world, lifetime={"seconds": 20})
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Paused"}})
    until(world, lambda: status(world, "s1")["phase"] == "Paused", 10)
    fails(world, "forbidden", "expire")
    world.now += 20
    until(world, lambda: told(world, "forbidden"), TELLS_SECONDS)
    if crashes:
        world.leader.kill()
    world.api.change("sandboxes", "s1", {"spec": {"lifetime": {"seconds": 3600}}})
    if crashes:
        world.start()
    until(world, lambda: says(world, "Stalled")["status"] == "False", 10)
    assert status(world, "s1")["phase"] == "Paused"


# Who goes


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("what", ["delete", "finalizer"])
def test_a_teardown_that_is_refused_says_so_and_goes_on_once_it_may(world: World, what: str, fault: str) -> None:
    ready(world)
    fails(world, fault, what)
    world.api.remove(("sandboxes", "s1"))
    until(world, lambda: told(world, fault, "TeardownStuck"), TELLS_SECONDS)
    assert world.operator.work.store.sandboxes.stuck == 1
    world.api.no_more_faults()
    until(world, lambda: gone(world), 10)
    assert world.operator.work.store.sandboxes.stuck == 0


@pytest.mark.parametrize("fault", ["failing", "unavailable", "throttled", "lost", "large"])
@pytest.mark.parametrize("what", ["request", "return"])
def test_a_restart_that_cannot_be_asked_for_or_ended_keeps_no_pod_of_a_deleted_sandbox(what: str, fault: str) -> None:
    """Its pod runs on until it is deleted, though its Sandbox is gone."""
    world = World(shape="restart")
    world.prompt(4)
    ready(world)
    pod = status(world, "s1")["podName"]
    fails(world, fault, what)
    world.api.remove(("sandboxes", "s1"))
    until(world, lambda: ("pods", pod) not in world.api.objects, 100, 1.0)
    until(world, lambda: gone(world), 5)
    world.close()


def test_a_teardown_does_not_wait_for_its_status() -> None:
    """A CustomResourceDefinition of another version may take none."""
    world = World(shape="restart")
    world.prompt(4)
    ready(world)
    fails(world, "invalid", "status")
    world.api.deaf_nodes = True
    world.api.remove(("sandboxes", "s1"))
    until(world, lambda: gone(world), 150, 1.0)
    world.close()


# Pools


def pool_says(world: World, kind: str) -> dict[str, Any]:
    return dict(condition(world.api.objects["sandboxpools", "pool"], kind) or {})


def pool_told(world: World, fault: str, *kinds: str) -> bool:
    found = [pool_says(world, kind) for kind in kinds or ("Stalled", "Reconciling")]
    words = simulated_wire.ANSWERS[fault][2]
    return any(item.get("status") == "True" and words in item["message"] for item in found)


@pytest.mark.parametrize("fault", ["failing", "unavailable", "timeout", "throttled", "bare conflict"])
@pytest.mark.parametrize("what", ["create", "network", "policy"])
def test_a_pool_whose_pods_the_api_server_fails_to_take_says_so_and_blames_no_template(what: str, fault: str) -> None:
    world = World(shape="open")
    fails(world, fault, what)
    until(world, lambda: pool_told(world, fault), TELLS_SECONDS)
    assert not pool_told(world, fault, "Stalled")
    until(world, lambda: pool_told(world, fault, "Stalled"), 30)
    assert "lastFailure" not in world.api.objects["sandboxpools", "pool"]["status"]
    world.api.no_more_faults()
    until(world, lambda: pool_says(world, "Full")["status"] == "True", 20)
    until(world, lambda: {pool_says(world, kind)["status"] for kind in ("Stalled", "Reconciling")} == {"False"}, 10)
    world.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pool_whose_pods_may_not_be_deleted_says_so_and_stays_ready(world: World, fault: str) -> None:
    world.prompt(10)
    fails(world, fault, "delete")
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    until(world, lambda: pool_told(world, fault), TELLS_SECONDS)
    assert pool_told(world, fault, "Stalled") == (fault in REFUSALS)
    until(world, lambda: pool_told(world, fault, "Stalled"), 30)
    assert pool_says(world, "Ready")["status"] == "True"
    # Nobody asks for it any more.
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 2}})
    until(world, lambda: {pool_says(world, kind)["status"] for kind in ("Stalled", "Reconciling")} == {"False"}, 10)


def test_a_pool_that_is_hindered_for_a_moment_says_nothing(world: World) -> None:
    for what in ("create", "delete", "pool status"):
        world.api.targeted[what].extend(["failing"] * 2)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 4}})
    world.prompt(30)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    world.prompt(30)
    assert len(world.free()) == 1
    assert not [write for write in world.api.sent if "RequestFailed" in str(write.body)]


@pytest.mark.parametrize("fault", ["failing", "forbidden"])
def test_a_pool_that_cannot_be_let_go_says_so(world: World, fault: str) -> None:
    fails(world, fault, "finalizer")
    world.api.remove(("sandboxpools", "pool"))
    until(world, lambda: pool_told(world, fault), TELLS_SECONDS)
    world.api.no_more_faults()
    until(world, lambda: ("sandboxpools", "pool") not in world.api.objects, 10)


# What is said to be gone


@pytest.mark.parametrize("kind", ["sandboxes", "sandboxpools"])
def test_what_was_said_to_be_gone_and_is_there_is_let_go_all_the_same(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is between us and the API server has answered 404 to everything for a moment."""
    ready(world)
    key = (kind, "s1" if kind == "sandboxes" else "pool")
    real, away = world.leader.connection.get, [True]

    async def get(path: str, params: Any = None) -> dict[str, Any]:
        if away and f"/{kind}/" in path:
            raise errors.ApiError(404, {"reason": "NotFound", "message": "not found"})
        return await real(path, params)

    monkeypatch.setattr(world.leader.connection, "get", get)
    fails(world, "missing", "finalizer")
    world.api.remove(key)
    world.prompt(10)
    assert key in world.api.objects
    away.clear()
    world.api.no_more_faults()
    until(world, lambda: key not in world.api.objects, 10)


def test_nothing_is_kept_of_a_pool_that_is_gone(world: World) -> None:
    world.api.targeted["claim"].extend(["bare conflict"] * 2)
    world.claim("s1")
    world.deliver("sandboxes", 100)
    world.work(1000)
    claims = world.operator.intake._claims
    assert claims._left_alone
    world.api.change("sandboxpools", "pool", {"metadata": {"finalizers": None}})
    world.api.remove(("sandboxpools", "pool"))
    world.prompt(10)
    assert not claims._left_alone


@pytest.mark.parametrize("fault", ["ok", "forbidden", "failing", "lost", "unanswered", "unconnected"])
def test_nothing_is_kept_of_a_start_that_is_over_before_its_reply(
    world: World, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch shows a pod come and go while the reply to its create is still on its way."""
    real = world.leader.connection.create

    async def create(path: str, body: dict[str, Any], **options: Any) -> dict[str, Any]:
        made = await real(path, body, **options)
        if path.endswith("/pods"):
            world.api.remove(("pods", body["metadata"]["name"]))
            world.api.finish(body["metadata"]["name"])
            world.catch_up()
        return made

    monkeypatch.setattr(world.leader.connection, "create", create)
    world.api.targeted["create"].append(fault)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 3}})
    world.catch_up()
    world.work(1000)
    monkeypatch.setattr(world.leader.connection, "create", real)
    world.prompt(150, 0.5)
    assert len(world.free()) == 3
    assert not world.operator.intake._starts._under_way
