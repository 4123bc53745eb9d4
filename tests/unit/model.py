"""What may happen to a cluster with the operator, as rules of a state machine; `model_promises` says what holds.

Users, platform teams, kubelets, watches that lag, writes that fail in every way, processes that
are killed, stopped for too long and continued: in whatever order. The dice are seeded, so a run
can be repeated; hypothesis's own state machines look at few histories many times over.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from sandyard.api import model
from tests.unit import model_promises
from tests.unit import simulated_node as node
from tests.unit.simulated_wire import FAULTS, WRITES, Sent
from tests.unit.simulation import SHAPES, World

__all__ = ["MAXIMUM", "run"]

MAXIMUM = 6
_ANY = "any"
# Dealt in turn, history after history, so that each is met about as often as every other.
_CLAIMING = [(what, fault) for fault in FAULTS for what in ("claim", "ready")]
_OTHERS = [(what, fault) for fault in FAULTS for what in (*WRITES, "create", "delete", "status")
           if what not in ("claim", "ready")]  # fmt: skip
_Rule = Callable[["Cluster"], None]
_rules: dict[str, tuple[int, _Rule]] = {}


def rule(weight: int) -> Callable[[_Rule], _Rule]:
    """One of the things that may happen, so often among the others; it does nothing where it cannot happen."""

    def add(act: _Rule) -> _Rule:
        _rules[act.__name__] = (weight, act)
        return act

    return add


def run(seed: int, number: int, steps: int, seen: Counter[str]) -> list[Sent]:
    """History *number* of those of *seed*, of *steps* steps; what it has met is added to *seen*.

    Returns
    -------
    list of Sent
        Every write of the operator; the same in each process that runs this history.
    """
    cluster = Cluster(random.Random(f"{seed} {number}"), number, seen)
    try:
        for _ in range(steps):
            cluster.step()
            model_promises.after_every_step(cluster.world, cluster.kept)
        model_promises.in_the_end(cluster.world)
    except Exception as error:
        history = "\n".join(cluster.history)
        raise AssertionError(f"{error}\n\nin history {number} of seed {seed}:\n{history}\n\n{cluster.world}") from error
    finally:
        cluster.close()
    return cluster.world.api.sent


class Cluster:
    """Rules are what may happen."""

    def __init__(self, dice: random.Random, number: int, seen: Counter[str]) -> None:
        self.dice = dice
        self.seen = seen
        self.claiming = itertools.cycle(_turned(_CLAIMING, 5 * number))
        self.others = itertools.cycle(_turned(_OTHERS, 3 * number))
        self.made = self.steps = 0
        self.kept: dict[str, str] = {}
        self.history: list[str] = []
        # Dealt in turn as well: a run of any seed meets each kind of pool equally often.
        shape = sorted(SHAPES)[number % len(SHAPES)]
        action = dice.choice(["ColdStart", "ColdStart", "Wait", "Reject"])
        self.world = World(MAXIMUM, shape=shape, action=action, wait_seconds=dice.choice([20, 80000]))
        self.notes(f"{shape} {action} {self.world.wait_seconds}")
        # Histories in which some things never happen go deeper into the others.
        self.rules = {name: item for name, item in _rules.items() if item[0] >= 5 or dice.random() < 0.7}
        self.world.prompt(3)
        # What is rare and must not be missing happens in every fourth history.
        rare = [
            Cluster.the_namespace_is_deleted,
            Cluster.the_pool_is_deleted,
            Cluster.the_leader_is_stopped_and_replaced,
        ]
        self.planned = {dice.randint(10, 40): rare[number % 4]} if number % 4 < len(rare) else {}

    def step(self) -> None:
        """Something happens."""
        self.steps += 1
        if planned := self.planned.get(self.steps):
            self.history.append(planned.__name__)
            planned(self)
            return
        names = list(self.rules)
        name = self.dice.choices(names, [self.rules[name][0] for name in names])[0]
        self.history.append(name)
        self.rules[name][1](self)

    def notes(self, text: str) -> None:
        """Note what the last step was about."""
        self.history.append(f"    {text}")

    def meets(self, what: str) -> None:
        """Count that *what* has happened."""
        self.seen[what] += 1

    def close(self) -> None:
        """End every process, and count."""
        api = self.world.api
        self.seen.update({f"{what} {fault}": count for (what, fault), count in api.met.items()})
        self.seen.update({f"ended {phase} {why}": count for (phase, why), count in api.witness.ended.items()})
        self.seen["refused to an old leader"] += sum(process.refused for process in self.world.replaced)
        self.world.close()

    # Users

    @rule(6)
    def users_claim(self) -> None:
        self.claim(self.dice.randint(1, 3), self.dice.choice(
            ["plain", "plain", "own", "impatient", "deadline", "lifetime"]))  # fmt: skip

    @rule(4)
    def a_user_deletes_a_sandbox(self) -> None:
        if name := self.one_of(self.world.api.all("sandboxes")):
            self.world.api.remove(("sandboxes", name))

    @rule(3)
    def a_user_pauses_suspends_or_resumes(self) -> None:
        if name := self.one_of(self.world.api.all("sandboxes")):
            state = self.dice.choice(["Paused", "Running", "Suspended"])
            self.notes(state)
            self.world.api.change("sandboxes", name, {"spec": {"desiredState": state}})

    # Those who keep the pool, and the namespace

    @rule(2)
    def the_pool_is_scaled(self) -> None:
        self.change_pool(replicas=self.dice.randint(0, 4))

    @rule(1)
    def the_template_changes(self) -> None:
        self.change_pool(template=self.world.template(self.dice.choice(["a", "b"])))

    @rule(1)
    def the_pool_answers_otherwise(self) -> None:
        self.world.action = self.dice.choice(["ColdStart", "Wait", "Reject"])
        self.change_pool(whenEmpty={"action": self.world.action}, paused=self.dice.random() < 0.3)

    @rule(1)
    def the_pool_is_deleted(self) -> None:
        if self.world.pool:
            self.world.api.remove(("sandboxpools", "pool"))

    @rule(3)
    def the_pool_is_made_anew(self) -> None:
        if ("sandboxpools", "pool") not in self.world.api.objects and not self.world.api.going:
            self.meets("pool made anew")
            self.world.make_pool()

    def the_namespace_is_deleted(self) -> None:
        if not self.world.api.going:
            self.meets("namespace deleted")
            self.world.api.remove_namespace()

    @rule(3)
    def the_namespace_is_made_anew(self) -> None:
        if self.world.api.going and not [key for key in self.world.api.objects if key[0] != "events"]:
            self.meets("namespace made anew")
            self.world.api.going = False

    # The node

    @rule(6)
    def a_pod_has_started(self) -> None:
        starting = node.starting(self.world.api)
        if starting:
            self.world.start_pod(self.dice.choice(starting), well=self.dice.random() < 0.8)

    @rule(6)
    def a_deleted_pod_is_gone(self) -> None:
        if name := self.one_of(self.world.pods(going=True)):
            self.world.api.finish(name)

    @rule(1)
    def somebody_else_deletes_a_pod(self) -> None:
        if name := self.one_of(self.world.pods(going=False)):
            self.world.api.remove(("pods", name))

    @rule(2)
    def a_running_pod_changes(self) -> None:
        pods = [pod for pod in self.world.pods(going=False) if pod["status"].get("phase") == "Running"]
        if name := self.one_of(pods):
            how = self.dice.choice(["sick", "sick", "healed", "healed", "healed", "ended", "failed"])
            self.notes(how)
            if how == "sick":
                node.sicken_pod(self.world.api, name)
            elif how == "healed":
                node.heal_pod(self.world.api, name)
            else:
                node.end_pod(self.world.api, name, 0 if how == "ended" else 1)

    # The operator and its connection

    @rule(12)
    def a_watch_catches_up(self) -> None:
        resource = self.dice.choice(["pods", "pods", "sandboxes", "sandboxes", "sandboxpools", "networkpolicies"])
        count = self.dice.randint(1, 20)
        self.notes(f"{resource} {count}")
        self.world.deliver(resource, count)

    @rule(12)
    def the_operator_works(self) -> None:
        self.may_fail()
        self.world.work(self.dice.randint(1, 8))
        self.world.api.no_more_faults()

    @rule(5)
    def the_operator_is_interrupted_at_its_work(self) -> None:
        self.may_fail()
        self.world.work(self.dice.randint(1, 8), self.dice.randint(1, 12))

    @rule(18)
    def this_write_meets_that_fault(self) -> None:
        """On the path of a claim while pods are warm, and of what comes after it."""
        world, dice = self.world, self.dice
        if world.api.going:
            return
        first = dice.random() < 0.6
        what, fault = next(self.claiming if first else self.others)
        if first and not world.free():
            if world.pool and world.pool["spec"]["replicas"] == 0:
                self.change_pool(replicas=2)
            world.prompt(4)
        self.expect(what, fault)
        self.claim(1, "own" if not first and dice.random() < 0.5 else "plain")
        if what in ("delete", "finalizer", "return", "exec"):
            ready = [body for body in world.api.all("sandboxes") if body["status"].get("phase") == "Ready"]
            if name := self.one_of(ready):
                world.api.remove(("sandboxes", name))
        world.deliver("sandboxes", 1000)
        world.work(1000)
        if not first or dice.random() < 0.5:
            world.prompt(dice.randint(1, 2))
        world.api.no_more_faults()

    @rule(5)
    def everything_is_prompt_for_a_while(self) -> None:
        self.world.prompt(self.dice.randint(1, 5))

    @rule(3)
    def what_was_on_its_way_arrives(self) -> None:
        self.world.api.arrive()

    @rule(6)
    def time_passes(self) -> None:
        seconds = self.dice.uniform(0.05, 12)
        # Short of what a create may take to show (30 s): a watch that lags longer is cut off and
        # listed anew, and a request that takes longer is given up.
        if seconds > 3:
            self.world.work(0)
            self.world.api.arrive()
        self.world.now += seconds
        if seconds > 6:
            self.world.deliver("pods", 1000)

    @rule(2)
    def the_sweep_passes(self) -> None:
        self.world.sweep()

    @rule(2)
    def the_operator_is_killed(self) -> None:
        if self.world.crashes < 6:
            self.world.crash()

    @rule(1)
    def the_leader_is_stopped_and_replaced(self) -> None:
        if len(self.world.replaced) < 3:
            self.meets("leader replaced")
            if self.dice.random() < 0.7:
                self.claim(2, "plain")
                self.world.catch_up()
            self.world.replace()
            self.world.old_leaders_work()

    @rule(1)
    def old_leaders_go_on(self) -> None:
        self.world.old_leaders_work()

    # What the rules are made of

    def claim(self, count: int, kind: str) -> None:
        if self.world.api.going:
            return
        spec: dict[str, Any] = {}
        ending = self.dice.choice(["Delete", "Stop"])
        if kind == "own":
            spec = {"env": [{"name": "A", "value": "1"}]}
        elif kind == "impatient":
            spec = {"waitSeconds": 5}
        elif kind == "deadline":
            spec = {"lifetime": {"deadline": model.timestamp(self.world.now + 8), "onExpiry": ending}}
        elif kind == "lifetime":
            spec = {"lifetime": {"seconds": 30, "onExpiry": ending}}
        for _ in range(count):
            self.made += 1
            self.notes(f"s{self.made}: {spec}")
            self.world.claim(f"s{self.made}", **spec)

    def change_pool(self, **spec: Any) -> None:
        if self.world.pool:
            self.notes(str(spec))
            self.world.api.change("sandboxpools", "pool", {"spec": spec})

    def one_of(self, bodies: list[dict[str, Any]]) -> str:
        """The name of one of *bodies*; empty if there is none."""
        if not bodies:
            return ""
        name = str(self.dice.choice(sorted(body["metadata"]["name"] for body in bodies)))
        self.notes(name)
        return name

    def may_fail(self) -> None:
        for _ in range(self.dice.choice([0, 0, 1, 2, 4])):
            self.expect(self.dice.choice([_ANY, "claim", "ready", *WRITES]), self.dice.choice(FAULTS))

    def expect(self, what: str, fault: str) -> None:
        self.notes(f"{what}: {fault}")
        self.world.api.dice.seed(self.dice.random())
        (self.world.api.faults if what == _ANY else self.world.api.targeted[what]).append(fault)


def _turned(deck: list[tuple[str, str]], by: int) -> list[tuple[str, str]]:
    return deck[by % len(deck) :] + deck[: by % len(deck)]
