"""Who may write next: few at once, the most urgent first, namespaces by turns, and nobody for ever."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter

import pytest

from sandyard.engine.loops.turns import Urgency
from sandyard.kube import errors
from tests.unit.writes import Writes, settle


@pytest.fixture
async def idle() -> Writes:
    return Writes()


@pytest.fixture
async def writes() -> Writes:
    """As many are under way as may be."""
    it = Writes()
    for number in range(it.turns.limit.value):
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


@pytest.mark.parametrize("urgency", [Urgency.CLAIM, Urgency.START])
async def test_who_is_waited_for_goes_before_refill_and_what_is_told(writes: Writes, urgency: Urgency) -> None:
    for number in range(20):
        writes.send(f"refill-{number}", "busy", Urgency.REFILL)
        writes.send(f"event-{number}", "busy", Urgency.TELLING)
    for _ in range(10):
        writes.send("urgent", "busy", urgency)
    await settle()
    while writes.began.count("urgent") < 10:
        await writes.answer()
    assert len(writes.began) <= 16, "they go first; the others have had a turn or two meanwhile"
    while writes.unanswered:
        await writes.end()
        writes.clock.pass_by(0.02)
        await settle()


async def test_a_server_that_says_too_many_gets_half_as_many(writes: Writes) -> None:
    before = writes.turns.limit.value
    refused = writes.send("refused", "busy", Urgency.CLAIM, errors.ApiError(429, {"message": "too many"}))
    await writes.end()
    with pytest.raises(errors.ApiError):
        await refused
    assert writes.turns.limit.value <= before // 2


async def test_those_who_come_later_do_not_overtake_all_who_wait(writes: Writes) -> None:
    for number in range(50):
        writes.send(f"waits-{number}", "busy", Urgency.CLAIM)
    await settle()
    for number in range(150):
        writes.send(f"late-{number}", "other", Urgency.CLAIM)
        await settle()
        await writes.answer()
    assert sum(name.startswith("waits") for name in writes.began) == 50
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
    writes.clock.pass_by(1)
    await writes.answer(340)
    found = Counter(name.partition("-")[0] for name in writes.began)
    assert 10 <= found["refill"] <= 40
    await writes.end()


LATER = [Urgency.TEARDOWN, Urgency.REFILL, Urgency.TELLING]


@pytest.mark.parametrize("urgency", LATER)
async def test_what_is_for_later_gives_way_to_the_two_writes_of_a_claim(idle: Writes, urgency: Urgency) -> None:
    idle.send("claim", "a", Urgency.CLAIM)
    idle.send("another", "b", Urgency.CLAIM)
    idle.send("later", "c", urgency)
    idle.send("start", "c", Urgency.START)
    await settle()
    assert idle.began == ["claim", "another", "start"], "there are places, and it is not for a claim to wait"
    await idle.answer(2)
    idle.send("status", "a", Urgency.CLAIM)
    await settle()
    idle.clock.pass_by(0.5)
    await settle()
    assert idle.began == ["claim", "another", "start", "status"]
    await idle.end()
    assert "later" not in idle.began, "the next write of that claim is about to come"
    idle.clock.pass_by(0.02)
    await settle()
    assert idle.began[-1] == "later"
    await idle.end()


@pytest.mark.parametrize("urgency", LATER)
async def test_while_claims_go_on_it_gives_way_for_a_second_and_no_longer(idle: Writes, urgency: Urgency) -> None:
    idle.send("claim", "a", Urgency.CLAIM)
    await settle()
    idle.send("later", "b", urgency)
    await settle()
    for _ in range(9):
        idle.clock.pass_by(0.1)
        idle.send("claim", "a", Urgency.CLAIM)
        await settle()
        await idle.answer()
    assert "later" not in idle.began
    idle.clock.pass_by(0.11)
    await settle()
    assert idle.began[-1] == "later"
    await idle.end()


async def test_who_gives_way_is_no_sign_of_a_busy_api_server(idle: Writes) -> None:
    idle.send("claim", "a", Urgency.CLAIM)
    later = idle.send("later", "b", Urgency.TELLING)
    await settle()
    assert (len(idle.turns), idle.turns.busy) == (1, False), "what went well is told all the same"
    for number in range(idle.turns.limit.value):
        idle.send(str(number), "a", Urgency.START)
    await settle()
    assert idle.turns.busy
    while not later.done():
        await idle.end()
        idle.clock.pass_by(0.02)
        await settle()


async def test_where_nobody_claims_nothing_waits(idle: Writes) -> None:
    for urgency in LATER:
        idle.send(urgency.name, "a", urgency)
    await settle()
    assert idle.under_way == 3
    await idle.end()


async def test_what_gives_way_and_is_cut_off_is_forgotten(idle: Writes) -> None:
    idle.send("claim", "a", Urgency.CLAIM)
    await settle()
    cut_off = [idle.send("cut off", "b", Urgency.REFILL) for _ in range(3)]
    stays = idle.send("stays", "b", Urgency.REFILL)
    await settle()
    for task in cut_off:
        task.cancel()
    await settle()
    await idle.end()
    idle.clock.pass_by(0.02)
    await settle()
    assert idle.began == ["claim", "stays"]
    await idle.end()
    await stays
    assert len(idle.turns) == 0


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


async def test_while_nobody_is_there_one_at_a_time_finds_out(writes: Writes) -> None:
    await writes.end()
    writes.most = 0
    first = writes.send("first", "busy", Urgency.CLAIM, errors.NotConnected())
    await settle()
    await writes.end()
    tried = [writes.send("tried", "busy", Urgency.CLAIM, errors.NotConnected()) for _ in range(30)]
    began = asyncio.get_running_loop().time()
    for number in range(1, 5):
        async with asyncio.timeout(10):
            while not writes.unanswered:
                await asyncio.sleep(0.01)
        assert writes.began == ["first"] + ["tried"] * number
        await writes.answer()
    assert writes.most == 1
    assert asyncio.get_running_loop().time() - began > 4 * 0.1, "it is not asked without a pause"
    for task in tried:
        task.cancel()
    await asyncio.gather(first, *tried, return_exceptions=True)


async def test_one_answer_lets_all_go_on_in_their_order(writes: Writes) -> None:
    first = writes.send("first", "busy", Urgency.CLAIM, errors.NotConnected())
    await settle()
    await writes.end()
    await asyncio.gather(first, return_exceptions=True)
    refills = [writes.send("refill", "busy", Urgency.REFILL) for _ in range(200)]
    claims = [writes.send("claim", "busy", Urgency.CLAIM) for _ in range(20)]
    writes.began.clear()
    async with asyncio.timeout(10):
        while not writes.unanswered:
            await asyncio.sleep(0.01)
    assert writes.under_way == 1
    await writes.answer()
    assert writes.under_way == writes.turns.limit.value, "nobody waits for another pause"
    await writes.answer(20)
    assert writes.began[:30].count("claim") == 20
    await writes.end()
    writes.clock.pass_by(0.02)
    await settle()
    await writes.end()
    await asyncio.gather(*refills, *claims)


async def test_a_refusal_shows_that_somebody_is_there(writes: Writes) -> None:
    for error in (errors.NotConnected(), errors.ApiError(403, {})):
        one = writes.send("one", "busy", Urgency.CLAIM, error)
        async with asyncio.timeout(10):
            while "one" not in writes.began:
                await settle()
                if writes.unanswered:
                    await writes.answer()
                else:
                    await asyncio.sleep(0.01)
        await writes.end()
        await asyncio.gather(one, return_exceptions=True)
        writes.began.clear()
    others = [writes.send("other", "busy", Urgency.CLAIM) for _ in range(100)]
    await settle()
    assert writes.under_way == writes.turns.limit.value
    await writes.end()
    await asyncio.gather(*others)


@pytest.mark.parametrize("seed", range(20))
async def test_every_place_comes_back_whatever_becomes_of_a_write(seed: int) -> None:
    chance = random.Random(seed)
    writes = Writes()
    turns = writes.turns
    tasks: list[asyncio.Task[None]] = []
    for number in range(300):
        fault = chance.choice([None, None, errors.ApiError(429, {}), errors.ApiError(409, {}), errors.TransportError(),
                              errors.NotConnected()])  # fmt: skip
        tasks.append(writes.send(str(number), chance.choice("abc"), chance.choice(list(Urgency)), fault))
        if chance.random() < 0.2:
            chance.choice(tasks).cancel()
        if chance.random() < 0.5:
            await settle()
        while chance.random() < 0.5 and writes.unanswered:
            with contextlib.suppress(asyncio.InvalidStateError):
                await writes.answer()
    async with asyncio.timeout(60):
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0 if writes.unanswered else 0.01)
            await settle()
            with contextlib.suppress(asyncio.InvalidStateError, IndexError):
                await writes.answer()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert writes.under_way == 0
    assert len(turns) == 0
    somebody_there = writes.send("last", "a", Urgency.CLAIM)
    async with asyncio.timeout(10):
        while not writes.unanswered:
            await asyncio.sleep(0.01)
    await writes.answer()
    await somebody_there
    again = [writes.send("again", "a", Urgency.CLAIM) for _ in range(turns.limit.value)]
    await settle()
    assert writes.began[-len(again) :] == ["again"] * len(again)
    await writes.end()


async def test_a_server_that_grows_slow_gets_fewer_writes_at_once_and_one_that_is_quick_again_more() -> None:
    it = Writes()

    async def rounds(count: int, seconds: float) -> int:
        for _ in range(count):
            for number in range(64):
                it.send(str(number), "busy", Urgency.CLAIM)
            await settle()
            while it.unanswered:
                it.clock.pass_by(seconds)
                await it.answer(it.unanswered)
        return it.turns.limit.value

    # Beside these what this machine takes for a round is little.
    quick = await rounds(20, 0.2)
    slow = await rounds(20, 1.5)
    assert slow < quick / 2
    assert await rounds(40, 0.2) > slow
