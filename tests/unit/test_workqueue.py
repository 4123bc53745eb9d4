"""How a work queue treats what fails, what is due later, and what is under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from sandyard.engine.cluster.writer import NotLeader
from sandyard.engine.loops.workqueue import WorkQueue
from sandyard.kube import backoff, errors


class Delays(WorkQueue):
    """Notes how long each failure waits, and comes back at once."""

    def __init__(self) -> None:
        super().__init__("test", workers=1)
        self.active = True
        self.seconds: list[float] = []

    def add_after(self, key: str, seconds: float) -> None:
        self.seconds.append(seconds)
        asyncio.get_running_loop().call_soon(self.add, key)


@contextlib.asynccontextmanager
async def running(queue: WorkQueue, handler: Callable[[str], Awaitable[None]]) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(handler))
    try:
        async with asyncio.timeout(5):
            yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_failures_in_a_row_wait_longer_and_a_success_forgives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff._RANDOM, "random", lambda: 0.5)
    outcomes = [False, False, False, True, False, True]
    queue, done = Delays(), asyncio.Event()

    async def handle(_key: str) -> None:
        well = outcomes.pop(0)
        if not outcomes:
            done.set()
        if not well:
            raise errors.TransportError("cut off")
        if outcomes:
            asyncio.get_running_loop().call_soon(queue.add, "a")

    queue.add("a")
    async with running(queue, handle):
        await done.wait()
    first, second, third, anew = queue.seconds
    assert first < second < third
    assert anew == first


async def test_a_server_that_asks_for_a_pause_has_it() -> None:
    queue, done = Delays(), asyncio.Event()

    async def handle(_key: str) -> None:
        if queue.seconds:
            done.set()
            return
        raise errors.ApiError(429, {"reason": "TooManyRequests"}, 7.0)

    queue.add("a")
    async with running(queue, handle):
        await done.wait()
    assert queue.seconds == [7.0]


async def test_a_key_that_is_due_is_not_put_off() -> None:
    queue, done = WorkQueue("test", workers=1), asyncio.Event()
    queue.active = True

    async def handle(_key: str) -> None:
        done.set()

    async with running(queue, handle):
        queue.add_after("a", 0.01)
        queue.add_after("a", 3600)
        await done.wait()


async def test_a_key_that_has_come_back_by_its_time_comes_back_by_the_next_one_too() -> None:
    queue, done, seen = WorkQueue("test", workers=1), asyncio.Event(), list[str]()
    queue.active = True

    async def handle(key: str) -> None:
        seen.append(key)
        queue.add_after(key, 0.01)
        if len(seen) == 3:
            done.set()

    async with running(queue, handle):
        queue.add_after("a", 0.01)
        await done.wait()


async def test_no_more_keys_are_handled_at_once_than_there_are_workers() -> None:
    queue, go_on, under_way = WorkQueue("test", 3, str), asyncio.Event(), list[int]()
    queue.active = True
    busy = 0

    async def handle(_key: str) -> None:
        nonlocal busy
        busy += 1
        under_way.append(busy)
        await go_on.wait()
        busy -= 1

    for number in range(10):
        queue.add(str(number))
    async with running(queue, handle):
        for _ in range(20):
            await asyncio.sleep(0)
        assert busy == 3
        go_on.set()
        while not queue.idle:
            await asyncio.sleep(0)
    assert len(under_way) == 10
    assert max(under_way) == 3


async def test_a_queue_is_not_idle_while_a_key_is_handled() -> None:
    queue, begun, go_on = WorkQueue("test", workers=1), asyncio.Event(), asyncio.Event()
    queue.active = True

    async def handle(_key: str) -> None:
        begun.set()
        await go_on.wait()

    queue.add("a")
    async with running(queue, handle):
        await begun.wait()
        assert not queue.idle
        go_on.set()
        while not queue.idle:
            await asyncio.sleep(0)


async def test_who_was_cut_off_is_tried_as_soon_as_anybody_is_answered() -> None:
    """An outage of a minute would otherwise cost half a minute more."""
    queue, tried, away = WorkQueue("test", 1), list[str](), True
    queue.active = True

    async def handle(key: str) -> None:
        tried.append(key)
        if away:
            raise errors.TransportError("connection refused")

    task = asyncio.create_task(queue.run(handle))
    queue._failures = {"a": 20, "b": 20}
    for key in ("a", "b"):
        queue.add(key)
    async with asyncio.timeout(5):
        while len(tried) < 2:
            await asyncio.sleep(0)
    away = False
    queue.add("c")
    async with asyncio.timeout(1):
        while len(tried) < 5:
            await asyncio.sleep(0)
    assert set(tried[2:]) == {"a", "b", "c"}
    assert all(due - asyncio.get_running_loop().time() < 8 for due, _ in queue._timers.values())
    task.cancel()
    await asyncio.wait({task})


async def test_nobody_has_more_than_a_share_of_the_workers() -> None:
    """Sixty who wait for one who does not answer leave room for others, and have their turn one day."""
    queue, let_go = WorkQueue("test", 8, lambda key: key[0], 3), asyncio.Event()
    queue.active = True
    begun: list[str] = []

    async def handle(key: str) -> None:
        begun.append(key)
        await let_go.wait()

    async with running(queue, handle):
        for group in "ab":
            for number in range(30):
                queue.add(f"{group}{number}")
        for _ in range(200):
            await asyncio.sleep(0)
        assert sorted(key[0] for key in begun) == [*"aaabbb"]
        let_go.set()
        while not queue.idle:
            await asyncio.sleep(0)
        assert len(set(begun)) == len(begun) == 60
        queue.add("a0")
        while len(begun) < 61:
            await asyncio.sleep(0)


async def test_one_that_comes_late_need_not_wait_for_those_who_have_their_share() -> None:
    queue, let_go, late = WorkQueue("test", 8, lambda key: key[0], 2), asyncio.Event(), asyncio.Event()
    queue.active = True

    async def handle(key: str) -> None:
        if key == "b0":
            late.set()
            return
        await let_go.wait()

    async with running(queue, handle):
        for number in range(60):
            queue.add(f"a{number}")
        for _ in range(200):
            await asyncio.sleep(0)
        queue.add("b0")
        await late.wait()


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (errors.ApiError(500, {}), True),
        (errors.TransportError("cut off"), True),
        (NotLeader("another leads"), True),
        (KeyError("a bug"), False),
    ],
)
async def test_what_may_happen_any_time_is_told_in_a_line_and_a_bug_by_where_it_is(
    error: Exception, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    queue, done = Delays(), asyncio.Event()

    async def handle(_key: str) -> None:
        if queue.seconds:
            done.set()
            return
        raise error

    with caplog.at_level("INFO"):
        queue.add("a")
        async with running(queue, handle):
            await done.wait()
    (record,) = (record for record in caplog.records if record.message == "will retry")
    assert (record.exc_info is None) is known


@pytest.mark.parametrize("soon", [0.0001, 0.0004, 1e-9])
def test_what_is_due_in_less_than_a_millisecond_may_be_put_off_and_brought_forward(soon: float) -> None:
    """The loop that the operator runs on has no timer for so short a time."""

    async def main() -> list[str]:
        queue, seen, done = WorkQueue("test", workers=1), list[str](), asyncio.Event()
        queue.active = True

        async def handle(key: str) -> None:
            seen.append(key)
            done.set()

        async with running(queue, handle):
            for seconds in (60.0, soon, 60.0, soon / 2):
                queue.add_after("a", seconds)
            await done.wait()
            await asyncio.sleep(0.01)
        return seen

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == ["a"]
