"""The census of a pool: it counts as a count of all pods would, and keeps them in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sandyard.pod.observe import PodState
from sandyard.pool.census import Census, PoolPod
from sandyard.pool.ordered import Ordered

weights = st.integers(0, 5).map(float)
pods = st.builds(
    PoolPod,
    uid=st.sampled_from("abcdefgh"),
    state=st.sampled_from(PodState),
    created_at=weights,
    since=weights,
    current=st.booleans(),
    stuck=st.booleans(),
)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | weights)))
def test_keys_stay_in_order_whatever_comes_and_goes(changes: list[tuple[str, float | None]]) -> None:
    ordered = Ordered()
    known: dict[str, float] = {}
    for key, weight in changes:
        if weight is None:
            ordered.drop(key)
            known.pop(key, None)
        else:
            ordered.put(key, weight)
            known[key] = weight
        wanted = sorted(known, key=lambda key: (known[key], key))
        assert list(ordered) == wanted
        assert list(reversed(ordered)) == wanted[::-1]
        assert ordered.first() == (wanted[0] if wanted else None)
        assert [ordered.place(key) for key in wanted] == list(range(len(wanted)))
        assert ordered.up_to(2) == sum(weight <= 2 for weight in known.values())
        assert ordered.above(2) == min((weight for weight in known.values() if weight > 2), default=None)


@given(st.lists(pods | st.sampled_from("abcdefgh")))
def test_a_census_that_follows_changes_is_the_same_as_one_that_is_made_anew(changes: list[PoolPod | str]) -> None:
    followed = Census()
    known: dict[str, PoolPod] = {}
    for change in changes:
        if isinstance(change, str):
            followed.drop(change)
            known.pop(change, None)
        else:
            followed.put(change)
            known[change.uid] = change
    anew = Census(known.values())
    assert len(followed) == len(known)
    for state in PodState:
        for current in (True, False, None):
            counted = sum(p.state is state and current in (None, p.current) for p in known.values())
            assert followed.count(state, current=current) == anew.count(state, current=current) == counted
    for name in ("starting", "starting_outdated", "stuck", "ready", "ready_outdated"):
        assert list(getattr(followed, name)) == list(getattr(anew, name))
    assert followed.bad.keys() == anew.bad.keys()
    assert set(followed.unclaimed()) == {
        uid for uid, pod in known.items() if pod.state not in (PodState.CLAIMED, PodState.TERMINATING)
    }
