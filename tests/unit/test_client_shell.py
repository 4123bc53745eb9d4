"""A shell session goes on after whatever its commands say, with bash and with an image that has none."""

from __future__ import annotations

import os
import pathlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandyard.client import AsyncSandbox, errors
from tests.unit.local_pod import local_pod

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]
# A text, the exit codes that it may have, and what it prints: what leaves nothing behind in its session,
MOMENTARY: dict[str, tuple[str, tuple[int, ...], bytes]] = {
    "a backslash at its end": ("echo a\\", (0,), b"a\\\n"),
    "two of them": ("echo a\\\\", (0,), b"a\\\n"),
    "an open quote": ("echo 'open", (2,), b""),
    "an open double quote": ('echo "open', (2,), b""),
    "an open substitution": ("echo $(", (1, 2), b""),
    "an open sum": ("echo $((", (2,), b""),
    "an open condition": ("if true; then", (2,), b""),
    "an open function": ("f() {", (2,), b""),
    "too many ends": ("done; }; fi; )", (2,), b""),
    "an option that there is not": ("set -o nonsense", (1, 2), b""),
    "no program": ("no-such-program", (127,), b""),
    "no file": (". /nonexistent", (1, 2, 127), b""),
    "a division": (": $((1/0))", (1, 2), b""),
    "return": ("echo a; return 3 2>/dev/null || exit_code=1; (exit 3)", (3,), b"a\n"),
    "break": ("break; continue 7", (0, 1, 2), b""),
    "a trap": ("trap 'echo t' USR1; kill -s USR1 $$", (0,), b"t\n"),
    "lines": ("echo 1\n\n# 2\necho 3 # 4", (0,), b"1\n3\n"),
    "nothing": ("", (0,), b""),
}
# and what changes it for good, or needs one of its own: bash 5.2 spoils its memory at a long text after a broken one.
LASTING: dict[str, tuple[str, tuple[int, ...], bytes]] = {
    "a long heredoc": ("cat <<'X' | wc -c\n" + "y" * 150_000 + "\nX", (0,), b"150001\n"),
    "a long word": (f": {'x' * 200_000}", (0,), b""),
    "a megabyte": (f": {'x' * 1_000_000}\necho 'é \\ it'\"'\"'s'", (0,), "é \\ it's\n".encode()),
    "a long text that is open": ("echo 'open" + "x" * 9000, (2,), b""),
    "a long text with a backslash at its end": (f": {'x' * 9000}; echo a\\", (0,), b"a\\\n"),
    "a long text with lines at its end": (f": {'x' * 9000}; echo a.\n\n\n", (0,), b"a.\n"),
    "a heredoc without an end": ("cat <<X\nin it\n", (0, 2), b"in it\n"),
    "set -u": ("set -u; echo x", (0,), b"x\n"),
    "standard error to standard output": ("exec 2>&1; echo to >&2", (0,), b"to\n"),
    "standard error to nothing": ("exec 2>/dev/null; echo q >&2", (0,), b""),
    "standard output to a file": ("exec >/dev/null; echo q", (0,), b""),
    "no standard output": ("exec 1>&-", (0,), b""),
    "no standard input": ("exec <&-; cat </dev/null", (0,), b""),
    "a function printf": ("printf() { echo mine; }; printf", (0,), b"mine\n"),
    "functions of all kinds": ("command() { :; }; test() { :; }; echo() { :; }; read() { :; }", (0,), b""),
    "an alias": ("alias printf=false eval=false command=false", (0,), b""),
    "a constant": ("readonly A=1; A=2", (0, 1, 2), b""),
    "separators": ("IFS=_sandyar; echo x", (0,), b"x\n"),
    "set -f": ("set -f; echo /et[c]", (0,), b"/et[c]\n"),
    "a builtin that is switched off": ("enable -n printf 2>/dev/null || :", (0,), b""),
    "no PATH": ("PATH=/nonexistent; echo x", (0,), b"x\n"),
}


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["bash", "no bash"])
async def sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncSandbox]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "no bash":
            patch.setenv("PATH", str(programs_but_bash(tmp_path_factory.mktemp("programs"))))
        async with local_pod() as (_, made):
            yield made


def programs_but_bash(folder: pathlib.Path) -> pathlib.Path:
    for name in os.listdir("/usr/bin"):
        if name not in ("bash", "rbash"):
            (folder / name).symlink_to(f"/usr/bin/{name}")
    return folder


@pytest.mark.parametrize("texts", [list(MOMENTARY), *([what] for what in LASTING)], ids=lambda texts: texts[0])
async def test_it_answers_and_goes_on_and_has_forgotten_nothing(sandbox: AsyncSandbox, texts: list[str]) -> None:
    async with await sandbox.shell() as shell:
        await shell.run("kept=1; cd /tmp")
        for what in texts:
            text, codes, printed = {**MOMENTARY, **LASTING}[what]
            done = await shell.run(text, timeout=20)
            assert done.exit_code in codes, (what, done)
            assert done.stdout in (printed, b"") if codes != (0,) else done.stdout == printed, (what, done)
            last = await shell.run("case $kept-$PWD in 1-/tmp) (exit 9) ;; esac", timeout=20)
            assert last.exit_code == 9, (what, last)
        assert (await shell.run("cd /usr; :", timeout=20)).exit_code == 0
        assert not shell.closed


async def test_the_words_of_a_session_stay_set_and_what_ends_it_ends_it(sandbox: AsyncSandbox) -> None:
    async with await sandbox.shell() as shell:
        await shell.run("set -- a 'b c'; exec 7</etc/passwd; f() { return 4; }; declare -A m 2>/dev/null; m=1")
        assert (await shell.run('echo "$2-$#"; f')).exit_code == 4
        assert (await shell.run("read -r line <&7; echo ${line%%:*}")).stdout == b"root\n"
        assert (await shell.run("echo out; exit 6")).exit_code == 6
        with pytest.raises(errors.ShellClosed):
            await shell.run("true")


async def test_it_holds_no_stream_of_the_session_open(sandbox: AsyncSandbox) -> None:
    async with await sandbox.shell() as shell:
        assert (await shell.run("ls /proc/self/fd | sort -n | head -4 | tr '\\n' ' '")).stdout in (
            b"0 1 2 3 ",
            b"0 1 2 ",
        )


async def test_what_it_traces_is_what_it_was_given(sandbox: AsyncSandbox) -> None:
    async with await sandbox.shell() as shell:
        assert (await shell.run("set -x; f() { return 4; }; echo a")).stderr.lstrip(b"+ ") == b"echo a\n"
        assert (await shell.run("f")).exit_code == 4
        traced = await shell.run("echo $?; echo $-")
        assert traced.stdout.startswith(b"4\n") and b"x" in traced.stdout
        assert [line.lstrip(b"+ ")[:4] for line in traced.stderr.splitlines()] == [b"echo", b"echo"]
        broken = await shell.run("echo 'open")
        assert broken.exit_code == 2 and b"sandyard" not in broken.stderr
        assert b"sandyard" not in (await shell.run("set -v\necho b")).stderr
        assert b"sandyard" not in (await shell.run("echo c")).stderr
        await shell.run("set +xv")
        assert (await shell.run("echo d")).stderr == b""


async def test_with_set_e_what_fails_ends_it_and_nothing_else(sandbox: AsyncSandbox) -> None:
    async with await sandbox.shell() as shell:
        await shell.run("false")
        await shell.run("set -e; false || echo x")
        assert (await shell.run("if false; then :; fi; echo y")).stdout == b"y\n"
        assert (await shell.run("echo z; false")).exit_code == 1
        assert shell.closed


async def test_a_trap_of_errors_hears_of_those_of_the_commands_alone(sandbox: AsyncSandbox) -> None:
    async with await sandbox.shell() as shell:
        await shell.run("trap 'echo caught' ERR 2>/dev/null || :")
        await shell.run("false")
        assert (await shell.run("echo on")).stdout == b"on\n"
