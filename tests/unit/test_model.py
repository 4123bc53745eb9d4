"""The operator as a whole, by properties: whatever goes wrong, and in whatever order.

A hypothesis state machine plays users, kubelets, stale watches, refused and unanswered
requests, and crashes of the operator. After every step the promises hold; at the end of each
run everything is put right, and nothing may be missing, doubled or left.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sandyard.api import names
from tests.unit.simulation import World

MAXIMUM = 6
FAULTS = ["ok", "ok", "ok", "conflict", "failing", "unconnected", "lost", "unanswered"]
_steps = 0


class Cluster(RuleBasedStateMachine):
    """Rules are what may happen; invariants are what is promised."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.kept: dict[str, str] = {}

    @initialize(persistent=st.booleans())
    def a_cluster(self, persistent: bool) -> None:
        self.world = World(MAXIMUM, persistent)

    # Users

    @rule(count=st.integers(1, 3), environment=st.booleans())
    def users_claim(self, count: int, environment: bool) -> None:
        for _ in range(count):
            self.made += 1
            cold = {"env": [{"name": "A", "value": "1"}]} if environment else {}
            self.world.claim(f"s{self.made}", **cold)

    @precondition(lambda self: self.world.api.all("sandboxes"))
    @rule(data=st.data())
    def a_user_deletes_a_sandbox(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(b["metadata"]["name"] for b in self.world.api.all("sandboxes"))))
        self.world.api.remove(("sandboxes", name))

    @precondition(lambda self: self.world.api.all("sandboxes"))
    @rule(data=st.data(), state=st.sampled_from(["Paused", "Running", "Suspended"]))
    def a_user_pauses_suspends_or_resumes(self, data: st.DataObject, state: str) -> None:
        name = data.draw(st.sampled_from(sorted(b["metadata"]["name"] for b in self.world.api.all("sandboxes"))))
        self.world.api.change("sandboxes", name, {"spec": {"desiredState": state}})

    @rule(replicas=st.integers(0, 4))
    def the_pool_is_scaled(self, replicas: int) -> None:
        self.world.api.change("sandboxpools", "pool", {"spec": {"replicas": replicas}})

    @rule(image=st.sampled_from(["a", "b"]))
    def the_template_changes(self, image: str) -> None:
        self.world.api.change("sandboxpools", "pool", {"spec": {"template": self.world.template(image)}})

    # The node

    @precondition(lambda self: any(not pod["status"] for pod in self.world.pods(going=False)))
    @rule(data=st.data(), well=st.sampled_from([True, True, True, False]))
    def a_pod_has_started(self, data: st.DataObject, well: bool) -> None:
        waiting = sorted(p["metadata"]["name"] for p in self.world.pods(going=False) if not p["status"])
        self.world.start_pod(data.draw(st.sampled_from(waiting)), well=well)

    @precondition(lambda self: self.world.pods(going=True))
    @rule(data=st.data())
    def a_deleted_pod_is_gone(self, data: st.DataObject) -> None:
        going = sorted(pod["metadata"]["name"] for pod in self.world.pods(going=True))
        self.world.api.finish(data.draw(st.sampled_from(going)))

    @precondition(lambda self: self.world.pods(going=False))
    @rule(data=st.data())
    def somebody_else_deletes_a_pod(self, data: st.DataObject) -> None:
        alive = sorted(pod["metadata"]["name"] for pod in self.world.pods(going=False))
        self.world.api.remove(("pods", data.draw(st.sampled_from(alive))))

    # The operator and its connection

    @rule(resource=st.sampled_from(["pods", "pods", "sandboxes", "sandboxes", "sandboxpools", "networkpolicies"]),
          count=st.integers(1, 20))  # fmt: skip
    def a_watch_catches_up(self, resource: str, count: int) -> None:
        self.world.deliver(resource, count)

    @rule(seed=st.integers(0, 2**16), most=st.integers(1, 8), faults=st.lists(st.sampled_from(FAULTS), max_size=6))
    def the_operator_works(self, seed: int, most: int, faults: list[str]) -> None:
        self.world.api.dice.seed(seed)
        self.world.api.faults.extend(faults)
        self.world.work(most)
        self.world.api.faults.clear()

    @rule(seconds=st.floats(0.05, 12))
    def time_passes(self, seconds: float) -> None:
        # Short of what a create may take to show (30 s): a watch that lags longer is cut off
        # and listed anew.
        self.world.now += seconds
        if self.world.api.events["pods"] and seconds > 6:
            self.world.deliver("pods", 1000)

    @rule()
    def the_sweep_passes(self) -> None:
        self.world.sweep()

    @precondition(lambda self: self.world.crashes < 6)
    @rule()
    def the_operator_is_killed(self) -> None:
        self.world.crash()

    # Promises

    @invariant()
    def count(self) -> None:
        global _steps  # noqa: PLW0603 - over all runs
        _steps += 1

    @invariant()
    def never_above_the_maximum(self) -> None:
        assert len(self.world.pods()) <= MAXIMUM

    @invariant()
    def what_is_called_ready_has_its_own_pod(self) -> None:
        pods = [sandbox["status"]["podUID"] for sandbox in self.world.api.all("sandboxes")
                if sandbox["status"].get("phase") == "Ready"]  # fmt: skip
        assert len(pods) == len(set(pods))

    @invariant()
    def what_is_called_paused_stands_still_and_what_is_called_ready_does_not(self) -> None:
        for sandbox in self.world.api.all("sandboxes"):
            told = {c["type"]: c["status"] for c in sandbox["status"].get("conditions") or ()}
            frozen = sandbox["status"].get("podUID") in self.world.api.frozen
            if sandbox["status"].get("phase") == "Paused" and ready_reason(sandbox) == "Paused":
                assert frozen, "it says Paused and runs"
            assert not (frozen and told.get("Ready") == "True"), "it says Ready and stands still"

    @invariant()
    def a_workspace_that_is_named_is_never_lost(self) -> None:
        for sandbox in self.world.api.all("sandboxes"):
            name = sandbox["status"].get("workspaceClaim")
            if name and "deletionTimestamp" not in sandbox["metadata"]:
                assert self.kept.setdefault(sandbox["metadata"]["uid"], name) == name, "it has another workspace"
                claim = self.world.api.objects.get(("persistentvolumeclaims", name))
                assert claim is not None, "its workspace is gone"
                owners = {owner["uid"] for owner in claim["metadata"]["ownerReferences"]}
                assert sandbox["metadata"]["uid"] in owners

    @invariant()
    def what_is_called_suspended_has_no_pod(self) -> None:
        for sandbox in self.world.api.all("sandboxes"):
            if sandbox["status"].get("phase") == "Suspended":
                assert "podUID" not in sandbox["status"]

    @invariant()
    def a_finalizer_goes_only_after_the_pod(self) -> None:
        living = {sandbox["metadata"]["uid"] for sandbox in self.world.api.all("sandboxes")}
        for pod in self.world.pods(going=False):
            owner = pod["metadata"]["labels"].get(names.LABEL_SANDBOX_UID)
            assert owner is None or owner in living, "a pod outlives its Sandbox"

    def teardown(self) -> None:
        """Everything is put right: each Sandbox has its pod, the pool is whole; then all is deleted."""
        world = self.world
        try:
            world.settle()
            sandboxes = [s for s in world.api.all("sandboxes") if s["status"].get("phase") != "Failed"]
            claimed = [p["metadata"]["labels"][names.LABEL_SANDBOX_UID] for p in world.pods()
                       if names.LABEL_SANDBOX_UID in p["metadata"]["labels"]]  # fmt: skip
            assert len(claimed) == len(set(claimed)), "a Sandbox has two pods"
            # Without a persistent workspace nobody is suspended: it runs on, and says why.
            resting = [s for s in sandboxes if world.persistent and s["spec"].get("desiredState") == "Suspended"]
            for sandbox in resting:
                assert sandbox["status"]["phase"] == "Suspended", f"{sandbox}\n{world}"
                assert sandbox["metadata"]["uid"] not in claimed, "a suspended Sandbox has a pod"
            sandboxes = [sandbox for sandbox in sandboxes if sandbox not in resting]
            for sandbox in sandboxes:
                if sandbox["status"].get("claimedAt"):
                    paused = sandbox["spec"].get("desiredState") == "Paused"
                    assert sandbox["status"]["phase"] == ("Paused" if paused else "Ready"), f"{sandbox}\n{world}"
            ready = {s["metadata"]["uid"] for s in sandboxes if s["status"].get("phase") in ("Ready", "Paused")}
            assert ready <= set(claimed)
            assert len(ready) == min(len(sandboxes), MAXIMUM), f"a Sandbox waits although there is room\n{world}"
            replicas = world.api.objects["sandboxpools", "pool"]["spec"]["replicas"]
            warm = [p for p in world.pods() if names.LABEL_SANDBOX_UID not in p["metadata"]["labels"]]
            assert len(warm) == min(replicas, MAXIMUM - len(claimed)), f"the pool is not whole\n{world}"
            for sandbox in world.api.all("sandboxes"):
                world.api.remove(("sandboxes", sandbox["metadata"]["name"]))
            world.api.remove(("sandboxpools", "pool"))
            world.settle()
            left = [key for key in world.api.objects if key[0] != "events"]
            assert left == [], f"left behind: {left}"
        finally:
            world.close()


def ready_reason(sandbox: dict[str, Any]) -> str:
    conditions = sandbox["status"].get("conditions") or ()
    return next((str(c["reason"]) for c in conditions if c["type"] == "Ready"), "")


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=130,
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    # What fails here is long; to make it shorter takes longer than to read it.
    phases=[Phase.explicit, Phase.generate],
)


def test_these_were_at_least_ten_thousand_steps() -> None:
    assert _steps >= 10_000
