"""Output line by line: the same lines however the pieces fall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard import AsyncSandbox, by_line
from sandyard.client.exec.lines import Lines, finish

PIECES = st.lists(st.binary(max_size=20) | st.sampled_from([b"\n", b"\r\n", b"", b"a\n\nb"]), max_size=30)


async def lines_of(pieces: list[bytes]) -> list[str]:
    found: list[str] = []
    output = Lines(found.append)
    for piece in pieces:
        await output(piece)
    await output.end()
    return found


@given(PIECES)
async def test_the_lines_are_those_of_the_whole_however_the_pieces_fall(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    expected = whole.split(b"\n")
    if not expected[-1]:
        del expected[-1]
    assert await lines_of(pieces) == [line.removesuffix(b"\r").decode(errors="replace") for line in expected]


async def test_a_line_without_end_comes_in_pieces() -> None:
    found = await lines_of([b"x" * 700_000] * 5 + [b"\nlast"])
    assert max(map(len, found)) <= 1024 * 1024
    assert "".join(found) == "x" * 3_500_000 + "last"
    assert found[-1] == "last"


async def test_who_wants_pieces_is_told_of_no_end() -> None:
    await finish(None, lambda _: None)


@pytest.mark.parametrize("kept", [0, 1000])
async def test_each_line_of_a_command_comes_once_and_the_last_one_at_its_end(sandbox: AsyncSandbox, kept: int) -> None:
    out: list[str] = []
    err: list[str] = []

    async def later(line: str) -> None:
        err.append(line)

    done = await sandbox.commands.run(
        "printf 'one\\ntw'; echo problem >&2; sleep 0.2; printf 'o\\r\\n\\nthree'", keep_output=kept,
        on_stdout=by_line(out.append), on_stderr=by_line(later),
    )  # fmt: skip
    assert (out, err) == (["one", "two", "", "three"], ["problem"])
    assert done.stdout == b"one\ntwo\r\n\nthree"


async def test_lines_come_from_a_shell_a_cell_and_what_runs_in_the_background_too(sandbox: AsyncSandbox) -> None:
    found: list[str] = []
    async with await sandbox.shell() as shell:
        await shell.run("echo a; printf b", on_stdout=by_line(found.append))
    await sandbox.run_code("print('c', end='')", on_stdout=by_line(found.append))
    started = await sandbox.commands.start("echo d; printf e")
    await started.follow(by_line(found.append))
    assert found == ["a", "b", "c", "d", "e"]
