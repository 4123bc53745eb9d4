"""The end of a stream, however it is cut; and how many execs begin at once."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from sandyard.client.exec.stream import Tail
from sandyard.client.session.exec_limit import ExecLimit
from tests.unit.shells import ID


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(1, 60), max_size=40), code=st.integers(0, 255))
def test_the_mark_is_found_wherever_the_stream_is_cut(data: bytes, cuts: list[int], code: int) -> None:
    first = b"\x00" + ID.encode() + b":+\x00"
    stream = first + data + b"\x00" + ID.encode() + b":" + str(code).encode() + b"\x00" + b"of others"
    tail, seen, place = Tail(ID, 1000), b"", 0
    for cut in [*cuts, len(stream)]:
        seen += tail.feed(stream[place : place + cut])
        place += cut
    assert (seen, tail.value(), tail.exit_code) == (data, data, code)
    assert (tail.begun, tail.seen) == (True, len(data))


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(1, 60), max_size=40))
def test_without_a_mark_nothing_is_lost_and_nothing_is_believed(data: bytes, cuts: list[int]) -> None:
    data += b"\x00" + ID.encode()[:10]
    tail, seen, place = Tail(ID, 1000), b"", 0
    for cut in [*cuts, len(data)]:
        seen += tail.feed(data[place : place + cut])
        place += cut
    assert seen + tail.rest() == data
    assert not tail.ended


@given(sizes=st.lists(st.integers(0, 50), max_size=60), limit=st.integers(2, 100))
def test_of_much_output_the_beginning_and_the_end_are_kept(sizes: list[int], limit: int) -> None:
    whole = b""
    tail = Tail(ID, limit)
    for number, size in enumerate(sizes):
        piece = bytes([65 + number % 26]) * size
        whole += piece
        tail.feed(piece)
        assert len(tail.value()) <= 2 * limit
    tail.close()
    half = limit // 2
    kept = tail.value()
    assert len(kept) + tail.omitted == len(whole)
    if tail.omitted:
        assert kept == whole[:half] + whole[-half:]
    else:
        assert kept == whole


async def test_a_crowd_that_is_refused_halves_the_next_one() -> None:
    limit, most_inside, inside = ExecLimit(8), 0, 0

    async def begin(refuse: bool) -> None:
        nonlocal inside, most_inside
        turn = await limit.turn()
        inside += 1
        most_inside = max(most_inside, inside)
        await asyncio.sleep(0)
        inside -= 1
        if refuse:
            turn.refused()
        turn.release()
        turn.release()

    await asyncio.gather(*(begin(refuse=False) for _ in range(40)))
    assert (most_inside, limit.most) == (8, 8)
    await asyncio.gather(*(begin(refuse=True) for _ in range(8)))
    assert limit.most == 4
    most_inside = 0
    await asyncio.gather(*(begin(refuse=False) for _ in range(4)))
    assert most_inside == 4
    await asyncio.gather(*(begin(refuse=False) for _ in range(100)))
    assert limit.most == 8
    for _ in range(20):
        turns = [await limit.turn() for _ in range(limit.most)]
        for turn in turns:
            turn.refused()
        for turn in turns:
            turn.release()
    assert limit.most == 1


async def test_a_turn_of_one_who_gave_up_is_not_lost() -> None:
    limit = ExecLimit(1)
    order: list[int] = []

    async def begin(number: int) -> None:
        turn = await limit.turn()
        order.append(number)
        await asyncio.sleep(0.001)
        turn.release()

    tasks = [asyncio.create_task(begin(number)) for number in range(6)]
    await asyncio.sleep(0)
    for number in (1, 3):
        tasks[number].cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 2, 4, 5]
