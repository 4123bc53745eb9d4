"""What a command has started goes with it, however it has tried to be nobody's."""

from __future__ import annotations

import pathlib
import subprocess
import time

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.exec import script
from tests.unit.shells import ID, NAMESPACE, SHELLS

pytestmark = pytest.mark.timeout(120)

# Each starts a "sleep 297" that the variable of the command does not lead to.
FORMS = {
    "an empty environment": "env -i sleep 297 & wait",
    "an empty environment in a session of its own": "env -i setsid sleep 297 & wait",
    "a parent that is gone": "(env -i sleep 297 &) ; sleep 60",
    "a variable that is unset": "(unset SANDYARD_EXEC; sleep 297 &) ; sleep 60",
    "a variable of another command": "(export SANDYARD_EXEC=ffffffffffffffffffffffffffffffff; sleep 297 &) ; sleep 60",
    "a grandchild": "env -i sh -c 'setsid sh -c \"sleep 297; :\"; :' & wait",
    "a parent with ends of lines in its name":
        "env -i sh -c 'printf \"a\\nb\\n\" >/proc/$$/comm; sleep 297; :' & wait",
    "the name of a helper": "SANDYARD_EXEC=- sleep 297 & wait",
    "a stubborn one of a parent that goes first":
        "env -i setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 297; done' & trap 'exit 3' TERM; wait",
}  # fmt: skip
LEFT = 'while grep -qas "^sleep.297" /proc/[0-9]*/cmdline; do sleep 0.2; done'


@pytest.mark.parametrize(
    ("shell", "form"),
    [(shell, form) for shell in SHELLS for form in FORMS if shell == SHELLS[-1] or form.startswith("an empty")],
)
def test_the_time_of_a_command_ends_what_has_dropped_its_variable(shell: str, form: str) -> None:
    request = script.run(ID, FORMS[form], folder="/tmp", env={}, watch_seconds=1)
    # A session of its own, as an exec of a node has it.
    words = ["setsid", "--wait", *shell.split(), *request.words[1:]]
    began = time.monotonic()
    subprocess.run(
        [*NAMESPACE, "sh", "-c", f'"$@"; {LEFT}', "look", *words], input=request.preface, capture_output=True,
        timeout=40, check=False,
    )  # fmt: skip
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("form", ["an empty environment in a session of its own", "a parent that is gone"])
async def test_a_timeout_told_by_the_client_ends_it_too(
    sandbox: AsyncSandbox, form: str, tmp_path: pathlib.Path
) -> None:
    named = tmp_path / "sleep-of-the-command"
    named.symlink_to("/usr/bin/sleep")
    with pytest.raises(errors.CommandTimeout):
        await sandbox.commands.run(FORMS[form].replace("sleep 297", f"{named} 297"), timeout=1)
    assert not _running(named)


async def test_killing_a_background_command_ends_its_nameless_children(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path
) -> None:
    named = tmp_path / "sleep-of-the-command"
    named.symlink_to("/usr/bin/sleep")
    handle = await sandbox.commands.start(f"echo begun; env -i setsid {named} 297 & wait")
    await handle.read(wait=10)
    assert await handle.kill(grace=1)
    assert not _running(named)
    await handle.remove()


async def test_other_commands_are_left_alone(sandbox: AsyncSandbox) -> None:
    other = await sandbox.commands.start("echo begun; env -i sleep 30")
    await other.read(wait=10)
    with pytest.raises(errors.CommandTimeout):
        await sandbox.commands.run("env -i setsid sleep 30 & wait", timeout=1)
    assert (await other.read()).exit_code is None
    await other.remove()


def _running(program: pathlib.Path) -> list[str]:
    found = []
    for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(program).encode() in line.read_bytes():
                found.append(line.parent.name)
        except OSError:
            continue
    return found
