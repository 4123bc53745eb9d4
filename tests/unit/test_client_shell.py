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
    "an open substitution after a long line": (f': {"x" * 3000}\necho "$(', (1, 2), b""),
    "an open process": ("cat <(", (1, 2), b""),
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
# and what changes it for good.
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


LONG = [what for what in LASTING if "long" in what or what == "a megabyte"]


@pytest.mark.parametrize(
    "texts", [[*MOMENTARY, *LONG, *MOMENTARY], *([what] for what in LASTING)], ids=lambda texts: texts[0]
)
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


async def test_descriptors_that_it_opens_stay_open(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    """Of any number that a shell has: a lock is held by one of them from one command to the next."""
    async with await sandbox.shell() as shell:
        for number in (3, 7, 8, 9):
            assert (await shell.run(f"exec {number}>{tmp_path}/{number}; flock {number}")).ok
            assert (await shell.run(f"echo kept >&{number}; flock -n {tmp_path}/{number} true")).exit_code == 1
            assert (tmp_path / str(number)).read_text() == "kept\n"
        assert (await shell.run("exec 8</etc/passwd 9<&8; read -r line <&9; echo ${line%%:*}")).stdout == b"root\n"
        assert (await shell.run("exec 8<&- 9<&-; echo on")).stdout == b"on\n"


async def test_what_it_exports_is_what_it_was_given(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    (tmp_path / ".env").write_text("A=1\nB='2 3'\n")
    async with await sandbox.shell() as shell:
        await shell.run(f"set -a; . {tmp_path}/.env")
        exported = await shell.run("C=4; env | grep -i '_sandyard\\|^[ABC]=' | sort")
        assert exported.stdout == b"A=1\nB=2 3\nC=4\n"
        assert (
            await shell.run("true " + "x" * 200_000 + "; env | wc -l; case $- in *a*) echo a ;; esac")
        ).exit_code == 0
        assert (await shell.run("set +a; D=5; env | grep -c ^D=")).stdout == b"0\n"
        assert (await shell.run("set -ax; E=6; env | grep ^E=")).stdout == b"E=6\n"
        assert b"sandyard" not in (await shell.run("env; F=7")).stderr


async def test_it_outlives_the_rules_of_posix(sandbox: AsyncSandbox) -> None:
    for begin in ("set -o posix 2>/dev/null || :", "POSIXLY_CORRECT=1"):
        async with await sandbox.shell() as shell:
            await shell.run(begin)
            for what, (text, codes, printed) in MOMENTARY.items():
                if what in ("an option that there is not", "no file", "a division"):
                    # By these rules a shell ends at a special command that fails, or at what cannot be expanded.
                    continue
                done = await shell.run(text, timeout=20)
                assert done.exit_code in codes, (what, done)
                assert done.stdout in (printed, b"") if codes != (0,) else done.stdout == printed, (what, done)
                assert not shell.closed, what
            assert (await shell.run("echo on")).stdout == b"on\n"


async def test_a_trap_of_each_line_hears_of_those_of_the_commands_alone(sandbox: AsyncSandbox) -> None:
    async with await sandbox.shell() as shell:
        if not (await shell.run('[ -n "$BASH_VERSION" ]')).ok:
            assert not (await shell.run("trap : DEBUG")).ok, "another shell than bash has no such trap"
            return
        assert (await shell.run("trap 'echo \"trap: $BASH_COMMAND\"' DEBUG; :")).stdout == b"trap: :\n"
        assert (await shell.run("(exit 3)")).exit_code == 3
        done = await shell.run("echo $?")
        assert (done.stdout, done.stderr) == (b"trap: echo $?\n3\n", b"")
        assert (await shell.run("set -x; cd /; f() { :; }; f")).stdout == b"trap: set -x\ntrap: cd /\ntrap: f\n"
        assert b"sandyard" not in (await shell.run("cd /tmp")).stderr
        await shell.run("set +x; trap - DEBUG")
        assert (await shell.run("echo quiet; trap -p DEBUG")).stdout == b"quiet\n"


@pytest.mark.parametrize(
    "text", ["set -n", "echo a; set -euno pipefail", "if :; then set -o noexec; fi", "true &&\n set -xn"]
)
async def test_what_would_end_all_answers_is_refused(sandbox: AsyncSandbox, text: str) -> None:
    async with await sandbox.shell() as shell:
        with pytest.raises(errors.InvalidArgument, match="set -n"):
            await shell.run(text)
        for fine in ("set -e; set +e", "echo set -n", "(set -n)", "set -- -n", "cat <<X\nset -n\nX"):
            assert (await shell.run(fine, timeout=20)).ok, fine


async def test_a_folder_that_is_not_there_is_told(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    for call in (sandbox.shell, sandbox.pty):
        for place in ("nosuch", f"{tmp_path}/no\nsuch"):
            with pytest.raises(errors.SandboxFileNotFound, match="cwd"):
                await call(cwd=place)
        with pytest.raises(errors.InvalidArgument, match="cwd"):
            await call(cwd=f"{tmp_path}/file")
    async with await sandbox.shell(cwd=str(tmp_path)) as shell:
        assert (await shell.run("pwd")).stdout_text == f"{tmp_path}\n"
        await shell.reset()
        assert (await shell.run("pwd")).stdout_text == f"{tmp_path}\n"
    async with await sandbox.pty(["pwd"], cwd=str(tmp_path)) as terminal:
        assert b"".join([data async for data in terminal]).strip().endswith(tmp_path.name.encode())


async def test_variables_may_be_longer_than_any_request(sandbox: AsyncSandbox) -> None:
    env = {"LONG": "é'\n" * 20_000, "a.b": "x" * 9000}
    shows = 'printf "%s\n" "$LONG" | wc -c; env | grep -c "^a.b=x*$"'
    async with await sandbox.shell(env=env) as shell:
        # A shell that is not bash drops what it has no name for.
        count = b"1" if (await shell.run('[ -n "$BASH_VERSION" ]')).ok else b"0"
        assert (await shell.run(shows)).stdout.split() == [b"80001", count]
        assert (await shell.run("echo $0")).stdout.strip() in (b"/usr/bin/bash", b"/bin/sh", b"bash")
    async with await sandbox.pty(["/bin/sh", "-c", 'printf "%s\n" "$LONG" | wc -c'], env=env) as terminal:
        assert b"".join([data async for data in terminal]).split() == [b"80001"]
    assert not os.listdir("/tmp/.sandyard/begin")
    for call in (sandbox.shell, sandbox.pty):
        with pytest.raises(errors.InvalidArgument, match="too long for one argument"):
            await call(env={"LONG": "x" * 200_000})
        with pytest.raises(errors.InvalidArgument, match="too long for all words"):
            await call(env={f"LONG{at}": "x" * 120_000 for at in range(20)})
