"""Who may write next: few at once, the most urgent first, namespaces by turns, and nobody for ever."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter

import pytest

from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.turns import Limit, Turns, Urgency
from sandyard.kube import errors


class Writes:
    """Writes that take as long as the test wants, and the order in which they began."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.began: list[str] = []
        self.under_way = 0
        self.most = 0
        self._held: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, name: str, namespace: str, urgency: Urgency, error: Exception | None = None) -> asyncio.Task[None]:
        task = asyncio.create_task(self._send(name, namespace, urgency, error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send(self, name: str, namespace: str, urgency: Urgency, error: Exception | None) -> None:
        async with self.turns.turn("PATCH pods", namespace, urgency):
            self.began.append(name)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            done = asyncio.get_running_loop().create_future()
            self._held.append(done)
            try:
                await done
            finally:
                self.under_way -= 1
            if error is not None:
                raise error

    async def answer(self, count: int = 1) -> None:
        """The API server answers the oldest *count* of them."""
        for _ in range(count):
            self._held.pop(0).set_result(None)
            await settle()

    async def let_one_go(self) -> None:
        """As `answer`, and what follows from it has not happened yet."""
        self._held.pop(0).set_result(None)

    @property
    def unanswered(self) -> int:
        return len(self._held)

    async def end(self) -> None:
        while self._held:
            await self.answer()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def writes() -> Writes:
    turns = Turns(Clock())
    it = Writes(turns)
    for number in range(turns.limit.value):
        it.send(f"first-{number}", "busy", Urgency.REFILL)
    await settle()
    it.began.clear()
    return it


async def test_no_more_are_under_way_than_the_limit_allows(writes: Writes) -> None:
    for number in range(100):
        writes.send(str(number), "busy", Urgency.CLAIM)
    await settle()
    assert writes.began == []
    await writes.end()
    assert len(writes.began) == 100
    assert writes.most <= 64


async def test_a_claim_goes_before_refill_and_what_is_told(writes: Writes) -> None:
    for number in range(20):
        writes.send(f"refill-{number}", "busy", Urgency.REFILL)
        writes.send(f"event-{number}", "busy", Urgency.TELLING)
    for _ in range(10):
        writes.send("claim", "busy", Urgency.CLAIM)
    await settle()
    await writes.answer(14)
    assert writes.began.count("claim") == 10, "they go first; the others have had a turn or two meanwhile"
    await writes.end()


async def test_a_thousand_claims_of_one_namespace_do_not_delay_another_s(writes: Writes) -> None:
    for number in range(1000):
        writes.send(f"flood-{number}", "busy", Urgency.CLAIM)
    await settle()
    writes.send("quiet-1", "quiet", Urgency.CLAIM)
    await settle()
    await writes.answer(5)
    writes.send("quiet-2", "quiet", Urgency.CLAIM)
    await settle()
    await writes.answer(5)
    assert "quiet-1" in writes.began[:3]
    assert "quiet-2" in writes.began[:8]
    await writes.end()


async def test_what_is_least_urgent_has_its_share_of_a_stream_of_claims(writes: Writes) -> None:
    for number in range(100):
        writes.send(f"refill-{number}", "busy", Urgency.REFILL)
    for number in range(1600):
        writes.send(f"claim-{number}", "busy", Urgency.CLAIM)
    await settle()
    await writes.answer(340)
    found = Counter(name.partition("-")[0] for name in writes.began)
    assert 10 <= found["refill"] <= 40
    await writes.end()


async def test_whoever_is_cut_off_while_it_waits_takes_nobody_s_place(writes: Writes) -> None:
    cut_off = [writes.send("cut off", "busy", Urgency.CLAIM) for _ in range(50)]
    stays = writes.send("stays", "busy", Urgency.CLAIM)
    await settle()
    for task in cut_off:
        task.cancel()
    await settle()
    await writes.answer(1)
    assert writes.began == ["stays"]
    await writes.end()
    await stays
    assert len(writes.turns) == 0


async def test_whoever_is_cut_off_just_as_its_turn_comes_gives_it_back(writes: Writes) -> None:
    limit = writes.turns.limit.value
    unlucky = writes.send("unlucky", "busy", Urgency.CLAIM)
    await settle()
    await writes.let_one_go()
    while len(writes.turns):
        await asyncio.sleep(0)
    unlucky.cancel()
    await settle()
    assert "unlucky" not in writes.began
    for _ in range(limit):
        writes.send("next", "busy", Urgency.CLAIM)
    await settle()
    assert writes.under_way == limit
    await writes.end()


async def test_whoever_gets_no_answer_keeps_nobody_from_writing(writes: Writes) -> None:
    began = asyncio.get_running_loop().time()
    writes.send("next", "busy", Urgency.CLAIM)
    async with asyncio.timeout(10):
        while "next" not in writes.began:
            await asyncio.sleep(0.05)
    assert 1.5 < asyncio.get_running_loop().time() - began < 5
    await writes.end()
    again = [writes.send("again", "a", Urgency.CLAIM) for _ in range(100)]
    await settle()
    assert writes.under_way == writes.turns.limit.value, "those that come late leave no place twice"
    await writes.end()
    await asyncio.gather(*again)


@pytest.mark.parametrize("seed", range(20))
async def test_every_place_comes_back_whatever_becomes_of_a_write(seed: int) -> None:
    chance = random.Random(seed)
    turns = Turns(Clock())
    writes = Writes(turns)
    tasks: list[asyncio.Task[None]] = []
    for number in range(300):
        fault = chance.choice([None, None, errors.ApiError(429, {}), errors.ApiError(409, {}), errors.TransportError()])
        tasks.append(writes.send(str(number), chance.choice("abc"), chance.choice(list(Urgency)), fault))
        if chance.random() < 0.2:
            chance.choice(tasks).cancel()
        if chance.random() < 0.5:
            await settle()
        while chance.random() < 0.5 and writes.unanswered:
            with contextlib.suppress(asyncio.InvalidStateError):
                await writes.answer()
    async with asyncio.timeout(10):
        while not all(task.done() for task in tasks):
            await settle()
            with contextlib.suppress(asyncio.InvalidStateError, IndexError):
                await writes.answer()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert writes.under_way == 0
    assert len(turns) == 0
    again = [writes.send("again", "a", Urgency.CLAIM) for _ in range(turns.limit.value)]
    await settle()
    assert writes.began[-len(again) :] == ["again"] * len(again)
    await writes.end()


def played(limit: Limit, seconds: float, count: int = 500) -> int:
    for _ in range(count):
        limit.took("PATCH pods", seconds, limit.value)
    return limit.value


def test_the_limit_grows_while_writes_take_no_longer() -> None:
    assert played(Limit(), 0.01) == 64


def test_the_limit_falls_to_few_where_they_take_ten_times_as_long() -> None:
    limit = Limit()
    limit.took("PATCH pods", 0.02, 1)
    assert played(limit, 0.2) <= 10


def test_the_limit_stays_where_nobody_needs_more() -> None:
    limit = Limit()
    before = limit.value
    for _ in range(500):
        limit.took("PATCH pods", 0.01, 1)
    assert limit.value == before


def test_too_many_requests_halve_the_limit() -> None:
    limit = Limit()
    before = limit.value
    limit.refused()
    assert limit.value == before // 2


def test_an_api_server_that_is_slower_for_good_is_found_out() -> None:
    limit = Limit()
    played(limit, 0.02)
    assert played(limit, 0.2, 100) <= 10
    assert played(limit, 0.2, 30_000) == 64
