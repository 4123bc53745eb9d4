"""The claim's state machine by itself: every order of grants, replies, losses and ends.

No order hands a pod to two Sandboxes, loses a pod to claims, or leaves a waiter for ever.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from sandyard.engine.claims import claim as claims
from sandyard.engine.claims.claim import TRANSITIONS, Claim, Event, State
from sandyard.engine.claims.queue import ClaimQueue
from tests.support import soak
from tests.unit.claim_world import OUTCOMES, ClaimWorld, Move

OPENINGS: dict[str, list[Move]] = {
    "one waits, no pod": [("work", "s1")],
    "one is granted": [("work", "s1"), ("pod ready",), ("serve",)],
    "one writes": [("pod ready",), ("work", "s1")],
    "one writes, one waits": [("pod ready",), ("work", "s1"), ("work", "s2")],
    "one is unsure": [("pod ready",), ("work", "s1"), ("reply", "s1", "lost written")],
    "one looks": [("pod ready",), ("work", "s1"), ("reply", "s1", "lost"), ("work", "s1")],
    "both write": [("pod ready",), ("pod ready",), ("work", "s1"), ("work", "s2")],
}
pytestmark = [pytest.mark.soak, pytest.mark.timeout(soak.rounds(short=600, long=3600))]
DEPTH = soak.rounds(short=2, long=4)


@pytest.fixture
def transitions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[tuple[State, Event]]]:
    """How often each transition has been made."""
    made: Counter[tuple[State, Event]] = Counter()
    take = Claim.take

    def counted(self: Claim, event: Event) -> None:
        made[self.state, event] += 1
        take(self, event)

    monkeypatch.setattr(Claim, "take", counted)
    return made


def play(moves: list[Move]) -> ClaimWorld:
    world = ClaimWorld()
    for move in moves:
        world.play(move)
    return world


def check(moves: list[Move]) -> None:
    try:
        play(moves).settle()
    except AssertionError as error:
        raise AssertionError(f"{error}, after {moves}") from error


@pytest.mark.parametrize("opening", OPENINGS)
def test_every_order_of_what_may_happen_next_ends_well(opening: str) -> None:
    orders = [OPENINGS[opening]]
    for _ in range(DEPTH):
        orders = [[*moves, move] for moves in orders for move in play(moves).moves()]
    assert len(orders) > 10
    for moves in orders:
        check(moves)


def test_a_claim_whose_pod_came_and_went_while_it_was_looked_for_takes_no_other() -> None:
    """`make soak` found it: the Sandbox was gone too, and a pod stayed set aside for it."""
    check([("pod ready",), ("work", "s1"), ("reply", "s1", "lost written"), ("work", "s1"), ("watch", "p1"),
           ("pod gone", "p1"), ("sandbox gone", "s1")])  # fmt: skip


def test_long_lives_of_claims_end_well_and_take_every_way_of_the_table(
    transitions: Counter[tuple[State, Event]],
) -> None:
    dice = random.Random(11)
    outcomes: Counter[str] = Counter()
    for _ in range(soak.rounds(short=1200, long=20_000)):
        world = ClaimWorld()
        moves: list[Move] = []
        for _ in range(25):
            possible = world.moves()
            if not possible:
                break
            # Ends are rare, or nothing would live long.
            lasting = [move for move in possible if move[0] not in ("ended", "sandbox gone", "pool gone", "pod gone")]
            moves.append(dice.choice(lasting if lasting and dice.random() < 0.85 else possible))
            if moves[-1][0] == "reply":
                outcomes[moves[-1][2]] += 1
            try:
                world.play(moves[-1])
            except AssertionError as error:
                raise AssertionError(f"{error}, after {moves}") from error
        check(moves)
    assert {way: transitions[way] for way in TRANSITIONS if transitions[way] < 5} == {}
    assert all(outcomes[outcome] >= 5 for outcome in OUTCOMES), outcomes


def test_what_the_table_does_not_allow_is_an_error() -> None:
    for state in State:
        for event in Event:
            if (state, event) not in TRANSITIONS:
                claim = Claim("s", "pool", 0, 0.0, state=state)
                with pytest.raises(claims.IllegalTransition):
                    claim.take(event)


def test_the_table_of_the_docstring_is_the_table_of_the_code() -> None:
    told = set()
    for line in (Claim.__doc__ or "").splitlines():
        words = line.split()
        if len(words) > 3 and words[0].lower() in set(State):
            states = [word.lower() for word in words[1:] if word in {state.value.title() for state in State}]
            for event in line[8:58].partition(":")[0].replace(",", " ").split():
                if event in set(Event):
                    told.add((State(words[0].lower()), Event(event), State(states[0])))
    assert told == {(state, event, after) for (state, event), after in TRANSITIONS.items()}


def test_a_claim_that_comes_back_has_its_old_place_and_nobody_overtakes() -> None:
    queue = ClaimQueue()
    line = [Claim(f"s{number}", "pool", number, 0.0, cold=number % 2 == 0) for number in range(4)]
    for claim in line:
        queue.put(claim)
    assert (len(queue), queue.cold, queue.place("s2")) == (4, 2, 2)
    line[0].grant("p")
    queue.put(line[0])
    assert (len(queue), queue.cold, queue.place("s2"), queue.place("s0")) == (3, 1, 1, 0)
    line[0].take(Event.REVOKE)
    queue.put(line[0])
    assert [claim.sandbox_uid for claim in queue] == ["s0", "s1", "s2", "s3"]
    assert queue.cold == 2
