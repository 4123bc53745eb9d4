from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sandyard.pool.expectations import Expectations


def test_a_create_counts_until_it_is_seen() -> None:
    expected = Expectations()
    expected.expect_create("a", 0)
    assert expected.pending_creates(1) == 1
    expected.seen("a")
    assert expected.pending_creates(1) == 0


def test_a_refused_create_stops_counting() -> None:
    expected = Expectations()
    expected.expect_create("a", 0)
    expected.create_failed("a")
    assert expected.pending_creates(0) == 0


def test_a_lost_reply_does_not_block_for_ever() -> None:
    expected = Expectations(timeout_seconds=30)
    expected.expect_create("a", 0)
    expected.expect_delete("b", 0)
    assert expected.next_deadline() == 30
    assert expected.pending_creates(31) == 0
    assert not expected.deleting("b", 31)


def test_a_delete_counts_until_the_pod_is_gone() -> None:
    expected = Expectations()
    expected.expect_delete("a", 0)
    assert expected.deleting("a", 1)
    expected.gone("a")
    assert not expected.deleting("a", 1)


@given(st.lists(st.tuples(st.sampled_from("cds"), st.sampled_from("abc"))))
def test_the_count_is_that_of_creates_not_yet_seen(steps: list[tuple[str, str]]) -> None:
    expected, model = Expectations(), set()
    for step, name in steps:
        if step == "c":
            expected.expect_create(name, 0)
            model.add(name)
        elif step == "s":
            expected.seen(name)
            model.discard(name)
        else:
            expected.create_failed(name)
            model.discard(name)
    assert expected.pending_creates(1) == len(model)
