"""Pool arithmetic: examples for each rule, and properties over arbitrary pools and histories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sandyard.pod.observe import PodState
from sandyard.pool import arithmetic
from sandyard.pool.arithmetic import PoolView, decide
from sandyard.pool.census import Census, PoolPod
from sandyard.pool.expectations import Expectations

NOW = 1000.0


def pods(state: PodState, count: int, prefix: str = "", **fields: object) -> list[PoolPod]:
    made = []
    for number in range(count):
        values: dict[str, object] = {"created_at": NOW - 10 + number, "since": NOW - 5 + number, **fields}
        made.append(PoolPod(f"{prefix}{state}{number}", state, **values))  # type: ignore[arg-type]
    return made


def seen(*parts: Iterable[PoolPod]) -> Census:
    return Census(pod for part in parts for pod in part)


def test_an_empty_pool_starts_all_its_replicas_within_parallelism() -> None:
    assert decide(PoolView(replicas=3, pods=seen()), NOW).create == 3
    assert decide(PoolView(replicas=30, pods=seen(), parallelism=10), NOW).create == 10


def test_a_template_that_never_proved_itself_starts_with_canaries() -> None:
    assert decide(PoolView(replicas=20, pods=seen(), proven=False), NOW).create == arithmetic.CANARIES
    view = PoolView(replicas=20, pods=seen(), proven=False, pending_creates=arithmetic.CANARIES)
    assert decide(view, NOW).create == 0


def test_after_a_failure_pods_start_one_at_a_time() -> None:
    assert decide(PoolView(replicas=20, pods=seen(), failures=1), NOW).create == 1


def test_nothing_starts_while_backing_off_and_the_pool_wakes_up_when_it_is_over() -> None:
    decision = decide(PoolView(replicas=2, pods=seen(), held_until=NOW + 30), NOW)
    assert decision.create == 0
    assert decision.again_at == NOW + 30


def test_more_of_what_is_stuck_is_not_started() -> None:
    stuck = pods(PodState.STARTING, 1, stuck=True)
    assert decide(PoolView(replicas=50, pods=seen(stuck)), NOW).create == 0


def test_a_maximum_that_is_lowered_costs_warm_pods_and_no_claimed_one() -> None:
    for claimed in (3, 4):
        full = seen(pods(PodState.WARM, 2), pods(PodState.CLAIMED, claimed))
        decision = decide(PoolView(replicas=2, pods=full, max_sandboxes=3), NOW)
        assert (decision.create, len(decision.delete)) == (0, 2)
        assert all(uid.startswith(str(PodState.WARM)) for uid in decision.delete)


def test_a_late_start_of_an_earlier_template_is_no_start_that_is_missing() -> None:
    late = pods(PodState.STARTING, 1, "old", current=False, created_at=NOW - 1000)
    view = PoolView(replicas=2, pods=seen(pods(PodState.STARTING, 2), late), start_timeout_seconds=300)
    decision = decide(view, NOW)
    assert (decision.create, len(decision.delete), len(decision.timed_out)) == (0, 1, 1)
    late = pods(PodState.STARTING, 1, "late", created_at=NOW - 1000)
    view = PoolView(replicas=3, pods=seen(pods(PodState.STARTING, 2), late), start_timeout_seconds=300)
    assert decide(view, NOW).create == 1


def test_a_full_pool_gives_up_a_pod_of_an_earlier_template_and_none_of_the_present_one() -> None:
    old = pods(PodState.WARM, 1, "old", current=False)
    full = seen(pods(PodState.WARM, 1), old, pods(PodState.CLAIMED, 1))
    view = PoolView(replicas=2, pods=full, max_sandboxes=3, max_unavailable=0, max_age_seconds=1000)
    assert decide(view, NOW).delete == (old[0].uid,)


def test_a_claim_is_replaced_at_once() -> None:
    view = PoolView(replicas=3, pods=seen(pods(PodState.WARM, 2), pods(PodState.CLAIMED, 1)))
    assert decide(view, NOW).create == 1


def test_waiting_claims_get_pods_of_their_own_on_top_of_the_replicas() -> None:
    assert decide(PoolView(replicas=0, pods=seen(), waiting=4), NOW).create == 4


def test_the_maximum_counts_everything_alive() -> None:
    alive = [*pods(PodState.CLAIMED, 3), *pods(PodState.TERMINATING, 1), *pods(PodState.WARM, 1)]
    decision = decide(PoolView(replicas=5, pods=seen(alive), max_sandboxes=6), NOW)
    assert decision.create == 1
    assert decision.at_maximum


def test_a_lowered_maximum_removes_warm_pods_and_no_claimed_one() -> None:
    view = PoolView(replicas=3, pods=seen(pods(PodState.WARM, 3), pods(PodState.CLAIMED, 2)), max_sandboxes=3)
    assert len(decide(view, NOW).delete) == 2
    assert all("claimed" not in uid for uid in decide(view, NOW).delete)


def test_scaling_down_deletes_starting_pods_first_then_the_newest_warm_one() -> None:
    view = PoolView(replicas=1, pods=seen(pods(PodState.WARM, 2), pods(PodState.STARTING, 1)))
    assert decide(view, NOW).delete == ("starting0", "warm1")


def test_failed_pods_are_replaced() -> None:
    decision = decide(PoolView(replicas=2, pods=seen(pods(PodState.FAILED, 1), pods(PodState.WARM, 1))), NOW)
    assert decision.delete == ("failed0",)
    assert decision.create == 1


def test_a_start_that_takes_too_long_is_a_failure_and_is_replaced() -> None:
    late = pods(PodState.STARTING, 1, created_at=NOW - 301)
    decision = decide(PoolView(replicas=1, pods=seen(late)), NOW)
    assert decision.timed_out == ("starting0",)
    assert decision.delete == ("starting0",)


def test_a_start_under_way_is_looked_at_again_when_its_time_is_over() -> None:
    assert decide(PoolView(replicas=1, pods=seen(pods(PodState.STARTING, 1))), NOW).again_at == NOW - 10 + 300


def test_a_new_template_replaces_warm_pods_within_the_rollout_limit() -> None:
    old = pods(PodState.WARM, 8, current=False)
    limit = arithmetic.amount("25%", 8)
    first = decide(PoolView(replicas=8, pods=seen(old), max_unavailable=limit), NOW)
    assert len(first.delete) == 2
    assert first.create == 8
    new = pods(PodState.WARM, 4, "new-")
    second = decide(PoolView(replicas=8, pods=seen(old[:6], new), max_unavailable=limit), NOW)
    assert len(second.delete) == 4


def test_starting_pods_of_an_old_template_go_at_once() -> None:
    view = PoolView(replicas=1, pods=seen(pods(PodState.STARTING, 1, current=False)))
    assert decide(view, NOW).delete == ("starting0",)


def test_what_an_amount_means() -> None:
    assert arithmetic.amount("25%", 10) == 3
    assert arithmetic.amount("0%", 10) == 0
    assert arithmetic.amount("7", 10) == 7


def test_with_no_pod_to_spare_each_old_one_goes_after_its_substitute() -> None:
    old = pods(PodState.WARM, 3, current=False)
    first = decide(PoolView(replicas=3, pods=seen(old), max_unavailable=0), NOW)
    assert first.delete == ()
    assert first.create == 3
    second = decide(PoolView(replicas=3, pods=seen(old, pods(PodState.WARM, 1, "new-")), max_unavailable=0), NOW)
    assert len(second.delete) == 1


def test_a_rollout_moves_even_where_the_maximum_leaves_no_room() -> None:
    old = pods(PodState.WARM, 3, current=False)
    decision = decide(PoolView(replicas=3, pods=seen(old), max_unavailable=0, max_sandboxes=3), NOW)
    assert len(decision.delete) == 1


def test_pods_over_their_age_go_after_their_substitutes_are_ready() -> None:
    old = pods(PodState.WARM, 3, since=NOW - 100)
    view = PoolView(replicas=3, pods=seen(old), max_age_seconds=60, max_unavailable=1)
    first = decide(view, NOW)
    assert (first.create, first.delete) == (1, ())
    second = decide(replace(view, pods=seen(old, pods(PodState.STARTING, 1))), NOW)
    assert (second.create, second.delete) == (0, ())
    third = decide(replace(view, pods=seen(old, pods(PodState.WARM, 1, "new-"))), NOW)
    assert (third.create, third.delete) == (0, ("warm0",))


def test_where_there_is_no_room_for_a_substitute_the_oldest_goes_first() -> None:
    old = pods(PodState.WARM, 2, since=NOW - 100)
    view = PoolView(replicas=2, pods=seen(old), max_age_seconds=60, max_sandboxes=2)
    assert decide(view, NOW).delete == ("warm0",)


def test_a_pool_looks_again_when_its_oldest_pod_comes_of_age() -> None:
    view = PoolView(replicas=2, pods=seen(pods(PodState.WARM, 2)), max_age_seconds=60)
    assert decide(view, NOW).again_at == NOW - 5 + 60


def test_unhealthy_pods_are_replaced() -> None:
    decision = decide(PoolView(replicas=2, pods=seen(pods(PodState.UNHEALTHY, 1), pods(PodState.WARM, 1))), NOW)
    assert decision.delete == ("unhealthy0",)
    assert decision.create == 1


def test_a_paused_pool_does_nothing() -> None:
    view = PoolView(replicas=5, pods=seen(pods(PodState.WARM, 9), pods(PodState.FAILED, 1)), paused=True)
    decision = decide(view, NOW)
    assert (decision.create, decision.delete) == (0, ())


def test_a_deleted_pool_deletes_all_but_claimed_pods() -> None:
    everything = [*pods(PodState.WARM, 2), *pods(PodState.STARTING, 1), *pods(PodState.CLAIMED, 2)]
    assert set(decide(PoolView(replicas=2, pods=seen(everything), deleting=True), NOW).delete) == {
        "warm0", "warm1", "starting0",
    }  # fmt: skip


pool_pods = st.lists(
    st.builds(
        PoolPod,
        uid=st.uuids().map(str),
        state=st.sampled_from(PodState),
        created_at=st.floats(0, NOW),
        since=st.floats(0, NOW),
        current=st.booleans(),
        stuck=st.booleans(),
    ),
    max_size=30,
    unique_by=lambda pod: pod.uid,
)
views = st.builds(
    PoolView,
    replicas=st.integers(0, 20),
    pods=st.builds(Census, pool_pods),
    max_sandboxes=st.none() | st.integers(1, 25),
    parallelism=st.integers(1, 10),
    paused=st.booleans(),
    deleting=st.booleans(),
    pending_creates=st.integers(0, 5),
    waiting=st.integers(0, 10),
    proven=st.booleans(),
    failures=st.integers(0, 3),
    max_unavailable=st.integers(0, 5),
    max_age_seconds=st.none() | st.floats(1, 2000),
    held_until=st.floats(0, 2 * NOW),
)


@given(views)
@settings(max_examples=400)
def test_whatever_the_pool_looks_like_its_promises_hold(view: PoolView) -> None:
    decision = decide(view, NOW)
    deleted = [view.pods.get(uid) for uid in decision.delete]
    assert all(pod is not None and pod.state not in (PodState.CLAIMED, PodState.TERMINATING) for pod in deleted)
    assert decision.create >= 0
    if view.max_sandboxes is not None and decision.create:
        assert len(view.pods) + view.pending_creates + decision.create <= view.max_sandboxes
    starting = view.pods.count(PodState.STARTING, current=True) + view.pending_creates
    assert not decision.create or decision.create + starting - len(deleted) <= view.parallelism
    if not view.paused and not view.deleting:
        assert set(view.pods.bad) <= set(decision.delete)
    assert decision.again_at is None or decision.again_at > NOW, "it would look again and again"


@given(st.integers(0, 8), st.integers(0, 4), st.floats(1, 50), st.integers(8, 20) | st.none(), st.data())
@settings(max_examples=200)
def test_old_pods_and_old_templates_are_replaced_and_then_there_is_peace(
    replicas: int, spare: int, age: float, maximum: int | None, data: st.DataObject
) -> None:
    """Whatever it starts from, the pool becomes all current and young, and stops moving."""
    alive = {f"p{n}": PoolPod(f"p{n}", PodState.WARM, 0, data.draw(st.floats(0, 100)), data.draw(st.booleans()))
             for n in range(data.draw(st.integers(0, 8)))}  # fmt: skip
    for step in range(200):
        view = PoolView(
            replicas, Census(alive.values()), maximum, max_unavailable=spare, max_age_seconds=age + 1000, parallelism=2
        )
        decision = decide(view, 1000.0 + age)
        if not decision.create and not decision.delete:
            break
        for uid in decision.delete:
            del alive[uid]
        for number in range(decision.create):
            uid = f"n{step}-{number}"
            alive[uid] = PoolPod(uid, PodState.WARM, 1000.0, 1000.0 + age)
    else:
        raise AssertionError("it never stops")
    assert len(alive) == replicas
    assert all(pod.current and pod.since > 0 for pod in alive.values())


class StaleWatch(RuleBasedStateMachine):
    """A pool whose watch lags behind: creates and deletes are seen late, and in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.replicas = 3
        self.maximum = 8
        self.real: dict[str, PoolPod] = {}
        self.seen: dict[str, PoolPod] = {}
        self.expectations = Expectations()
        self.made = 0

    @rule(replicas=st.integers(0, 8))
    def scale(self, replicas: int) -> None:
        self.replicas = replicas

    @rule()
    def reconcile(self) -> None:
        self.now += 0.1
        view = [
            PoolPod(p.uid, PodState.TERMINATING if self.expectations.deleting(p.uid, self.now) else p.state,
                    p.created_at, p.since)
            for p in self.seen.values()
        ]  # fmt: skip
        decision = decide(
            PoolView(
                self.replicas,
                Census(view),
                self.maximum,
                pending_creates=self.expectations.pending_creates(self.now),
            ),
            self.now,
        )
        for _ in range(decision.create):
            self.made += 1
            uid = f"pod{self.made}"
            self.expectations.expect_create(uid, self.now)
            self.real[uid] = PoolPod(uid, PodState.STARTING, self.now)
        for uid in decision.delete:
            assert self.seen[uid].state is not PodState.CLAIMED
            self.expectations.expect_delete(uid, self.now)
            self.real.pop(uid, None)

    @precondition(lambda self: self.real.keys() != self.seen.keys())
    @rule(data=st.data())
    def watch_catches_up_with_one_pod(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.real.keys() ^ self.seen.keys())))
        if uid in self.real:
            self.seen[uid] = self.real[uid]
            self.expectations.seen(uid)
        else:
            del self.seen[uid]
            self.expectations.gone(uid)

    @precondition(lambda self: any(pod.state is PodState.STARTING for pod in self.seen.values()))
    @rule(data=st.data())
    def turns_warm(self, data: st.DataObject) -> None:
        starting = sorted(uid for uid, pod in self.seen.items() if pod.state is PodState.STARTING and uid in self.real)
        if starting:
            uid = data.draw(st.sampled_from(starting))
            self.real[uid] = self.seen[uid] = PoolPod(uid, PodState.WARM, 0.0, self.now)

    @precondition(lambda self: any(pod.state is PodState.WARM for pod in self.seen.values()))
    @rule(data=st.data())
    def is_claimed(self, data: st.DataObject) -> None:
        warm = sorted(
            uid for uid, pod in self.seen.items()
            if pod.state is PodState.WARM and uid in self.real and not self.expectations.deleting(uid, self.now)
        )  # fmt: skip
        if warm:
            uid = data.draw(st.sampled_from(warm))
            self.real[uid] = self.seen[uid] = PoolPod(uid, PodState.CLAIMED)

    @invariant()
    def never_above_the_maximum(self) -> None:
        assert len(self.real) <= self.maximum

    @invariant()
    def settles_at_the_replicas(self) -> None:
        """However stale the watch was: once it has caught up, the pool is what it should be."""
        if self.real.keys() != self.seen.keys():
            return
        warm = sum(pod.state in (PodState.WARM, PodState.STARTING) for pod in self.real.values())
        claimed = sum(pod.state is PodState.CLAIMED for pod in self.real.values())
        decision = decide(PoolView(self.replicas, Census(self.seen.values()), self.maximum), self.now)
        after = warm + decision.create - len(decision.delete)
        assert after == max(0, min(self.replicas, self.maximum - claimed))


TestStaleWatch = StaleWatch.TestCase
TestStaleWatch.settings = settings(max_examples=60, stateful_step_count=60)
