"""What a program is given is what it has, and what it leaves is brought as far as it can be."""

from __future__ import annotations

import json
import pathlib

import pytest

from sandyard.client import AsyncSandbox
from sandyard.client.code import code
from tests.unit.local_pod import LocalPod, local_pod
from tests.unit.test_client_trees import NOBODY

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("args", [None, []])
async def test_a_variable_of_pythons_own_is_the_programs(
    here: pathlib.Path, monkeypatch: pytest.MonkeyPatch, args: list[int] | None
) -> None:
    """Of the image's it has none, whether or not it was given some."""
    (here / "known.py").write_text("x = 5")
    for name in ("PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "1")
    program = (
        "import json, os, sys, known\ndef main(): pass\n"
        "own = sorted(n for n in os.environ if n[:6] == 'PYTHON')\n"
        "print(json.dumps([known.x, hash('a') % 7, sys.flags.optimize, own]))"
    )
    given = {"PYTHONPATH": str(here), "PYTHONHASHSEED": "0", "MORE": "a\nPYTHONDEBUG=1", "PYTHON.x": "raw"}
    async with local_pod() as (_, sandbox):
        found = [json.loads((await sandbox.run_code(program, env=given, args=args)).stdout) for _ in range(2)]
        assert found[0] == found[1]
        assert (found[0][0], *found[0][2:]) == (5, 0, ["PYTHON.x", "PYTHONHASHSEED", "PYTHONPATH"])
        plain = await sandbox.run_code("import sys; print(sys.flags.optimize, sys.flags.ignore_environment)")
        assert plain.stdout == b"0 1\n"


async def test_an_artifact_that_cannot_be_read_is_named(
    inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod, sandbox = inside
    pod.user = NOBODY
    monkeypatch.setattr(code, "_FOLDER", f"{here}/code")
    done = await sandbox.run_code(
        "import os\nfor name in 'abc':\n    path = f\"{os.environ['SANDYARD_ARTIFACTS']}/{name}.csv\"\n"
        "    open(path, 'w').write(name)\n    os.chmod(path, 0 if name == 'b' else 0o600)\n"
    )
    assert (done.outcome, [(one.name, one.content) for one in done.artifacts]) == (
        "success", [("a.csv", b"a"), ("c.csv", b"c")])  # fmt: skip
    assert [text.rpartition("/")[2] for text in done.skipped] == ["b.csv: it cannot be read"]


async def test_an_artifact_that_becomes_shorter_spoils_no_other(
    here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was left behind may write to it while it is brought."""
    (here / "wc").write_text(
        '#!/bin/sh\n/usr/bin/wc "$@"\nf=$(readlink /proc/self/fd/0)\ncase $f in *log.csv) : >"$f" ;; esac\n'
    )
    (here / "wc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}:/usr/bin:/bin")
    async with local_pod() as (_, sandbox):
        done = await sandbox.run_code(
            'cd "$SANDYARD_ARTIFACTS"; echo whole >a.csv; echo shrinks >log.csv; echo whole >z.csv', "bash"
        )
    assert {one.name: one.content.rstrip(b"\0") for one in done.artifacts} | {"log.csv": b""} == {
        "a.csv": b"whole\n", "log.csv": b"", "z.csv": b"whole\n"}  # fmt: skip
    assert done.skipped == []


# Files that are read-only


async def test_what_is_read_only_is_replaced_and_removed_by_its_owner(
    inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path
) -> None:
    pod, sandbox = inside
    pod.user = NOBODY
    files, at = sandbox.files, str(here)
    await sandbox.commands.run("mkdir -p r/deep; echo 1 >r/deep/f; echo 2 >g; chmod 444 r/deep/f g", cwd=at, check=True)
    for number in range(2):
        await files.copy(f"{at}/g", f"{at}/g2")
        await files.copy(f"{at}/r", f"{at}/r2")
        assert [(here / name).read_text() for name in ("g2", "r2/deep/f")] == ["2\n", "1\n"], number
    await sandbox.commands.run("chmod 555 r/deep r; chmod 0 r2/deep; chmod 500 r2; ln -s r link", cwd=at, check=True)
    await files.remove(f"{at}/link", recursive=True)
    assert (here / "r" / "deep" / "f").read_text() == "1\n"
    for name in ("r", "r2"):
        await files.remove(f"{at}/{name}", recursive=True)
        assert not (here / name).exists()
