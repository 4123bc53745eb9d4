"""What holds after every step of the model, and what holds in the end, when everything has been put right.

What the operator must never write is looked at where it is written, in `simulated_witness`.
"""

from __future__ import annotations

from collections import Counter

from sandyard.api import names
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World

__all__ = ["after_every_step", "in_the_end"]

_ENDED = ("Failed", "Succeeded", "Expired")


def after_every_step(world: World, kept: dict[str, str]) -> None:
    """Hold *world* to its promises; *kept* remembers the workspaces of Sandboxes."""
    assert not world.api.witness.broken
    never_above_the_maximum(world)
    what_is_called_ready_has_its_own_pod(world)
    what_is_called_paused_stands_still_and_what_is_called_ready_does_not(world)
    a_workspace_that_is_named_is_never_lost(world, kept)
    what_is_called_suspended_has_no_pod(world)
    a_finalizer_goes_only_after_the_pod(world)


def in_the_end(world: World) -> None:
    """Each Sandbox has its pod, or a reason why not; the pool is whole; then all is deleted, and nothing is left."""
    everything_is_put_right(world)
    every_sandbox_is_as_it_should_be(world)
    what_is_warm_can_be_claimed(world)
    nothing_is_left(world)


def never_above_the_maximum(world: World) -> None:
    counts = Counter(pod["metadata"]["labels"].get(names.LABEL_POOL_UID) for pod in world.pods())
    assert all(count <= world.maximum for count in counts.values()), counts


def what_is_called_ready_has_its_own_pod(world: World) -> None:
    pods = [sandbox["status"]["podUID"] for sandbox in world.api.all("sandboxes")
            if sandbox["status"].get("phase") == "Ready"]  # fmt: skip
    assert len(pods) == len(set(pods))


def what_is_called_paused_stands_still_and_what_is_called_ready_does_not(world: World) -> None:
    for sandbox in world.api.all("sandboxes"):
        ready = condition(sandbox, "Ready") or condition(sandbox, "Reconciling") or {}
        frozen = sandbox["status"].get("podUID") in world.api.frozen
        if sandbox["status"].get("phase") == "Paused" and ready.get("reason") == "Paused":
            assert frozen, "it says Paused and runs"
        assert not (frozen and ready.get("status") == "True"), "it says Ready and stands still"


def a_workspace_that_is_named_is_never_lost(world: World, kept: dict[str, str]) -> None:
    for sandbox in world.api.all("sandboxes"):
        name = sandbox["status"].get("workspaceClaim")
        if name and "deletionTimestamp" not in sandbox["metadata"]:
            assert kept.setdefault(sandbox["metadata"]["uid"], name) == name, "it has another workspace"
            claim = world.api.objects.get(("persistentvolumeclaims", name))
            assert claim is not None, "its workspace is gone"
            owners = {owner["uid"] for owner in claim["metadata"]["ownerReferences"]}
            assert sandbox["metadata"]["uid"] in owners


def what_is_called_suspended_has_no_pod(world: World) -> None:
    for sandbox in world.api.all("sandboxes"):
        if sandbox["status"].get("phase") == "Suspended":
            assert "podUID" not in sandbox["status"]


def a_finalizer_goes_only_after_the_pod(world: World) -> None:
    living = {sandbox["metadata"]["uid"] for sandbox in world.api.all("sandboxes")}
    for pod in world.pods(going=False):
        owner = pod["metadata"]["labels"].get(names.LABEL_SANDBOX_UID)
        assert owner is None or owner in living, "a pod outlives its Sandbox"


def everything_is_put_right(world: World) -> None:
    """What was deleted goes; then there is a pool again that may serve, and no more faults."""
    world.old_leaders_work(1000)
    if world.api.going or world.pool is None:
        world.settle()
        left = [key for key in world.api.objects if key[0] == "sandboxpools" or world.api.going]
        assert [key for key in left if key[0] != "events"] == [], f"it was deleted and does not go\n{world}"
        world.api.going = False
        world.make_pool()
    replicas = world.api.objects["sandboxpools", "pool"]["spec"]["replicas"]
    spec = {"paused": False, "replicas": max(replicas, 1 if world.action == "Wait" else 0)}
    world.api.change("sandboxpools", "pool", {"spec": spec})
    world.settle()


def nothing_is_left(world: World) -> None:
    """Everything is deleted, and goes."""
    for sandbox in world.api.all("sandboxes"):
        if "deletionTimestamp" not in sandbox["metadata"]:
            world.api.remove(("sandboxes", sandbox["metadata"]["name"]))
    world.api.remove(("sandboxpools", "pool"))
    world.settle()
    left = [key for key in world.api.objects if key[0] != "events"]
    assert left == [], f"left behind: {left}\n{world}"


def every_sandbox_is_as_it_should_be(world: World) -> None:
    mine = [pod for pod in world.pods() if pod["metadata"]["labels"].get(names.LABEL_POOL_UID) == pool_uid(world)]
    labels = [pod["metadata"]["labels"] for pod in world.pods()]
    claimed = [label[names.LABEL_SANDBOX_UID] for label in labels if names.LABEL_SANDBOX_UID in label]
    assert len(claimed) == len(set(claimed)), f"a Sandbox has two pods\n{world}"
    for sandbox in world.api.all("sandboxes"):
        phase, wanted = sandbox["status"].get("phase"), sandbox["spec"].get("desiredState", "Running")
        assert "deletionTimestamp" not in sandbox["metadata"], f"it was deleted and does not go\n{world}"
        if phase in _ENDED:
            continue
        if wanted == "Suspended" and world.persistent:
            assert phase == "Suspended", f"{sandbox}\n{world}"
            assert sandbox["metadata"]["uid"] not in claimed, f"a suspended Sandbox has a pod\n{world}"
        elif sandbox["metadata"]["uid"] in claimed:
            # Without a persistent workspace nobody is suspended: it runs on, and says why.
            assert phase == ("Paused" if wanted == "Paused" else "Ready"), f"{sandbox}\n{world}"
        else:
            waits = f"{sandbox['metadata']['name']} waits although"
            assert len(mine) >= world.maximum, f"{waits} there is room\n{world}"
            assert not world.free(), f"{waits} there is a warm pod\n{world}"
    taken = len([pod for pod in mine if names.LABEL_SANDBOX_UID in pod["metadata"]["labels"]])
    replicas = world.api.objects["sandboxpools", "pool"]["spec"]["replicas"]
    assert len(mine) - taken == min(replicas, world.maximum - taken), f"the pool is not whole\n{world}"


def what_is_warm_can_be_claimed(world: World) -> None:
    """Nothing that is warm was lost to claims: as many Sandboxes as there are warm pods are Ready at once."""
    made = [f"last{number}" for number in range(len(world.free()))]
    for name in made:
        world.claim(name)
    for _ in range(4):
        world.catch_up()
        world.work(1000)
        world.now += 0.1
    phases = {name: world.api.objects["sandboxes", name]["status"].get("phase") for name in made}
    assert all(phase == "Ready" for phase in phases.values()), f"a warm pod is lost to claims: {phases}\n{world}"


def pool_uid(world: World) -> str:
    return str(world.api.objects["sandboxpools", "pool"]["metadata"]["uid"])
