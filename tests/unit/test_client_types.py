"""The package ships its types: a type checker helps a program that uses it, on both faces."""

from __future__ import annotations

import inspect
import pathlib
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest
from mypy import api

from localcluster import paths
from sandyard.client import AsyncSandbox, Sandbox, sync
from sandyard.client.code.contexts import CodeContext, Contexts
from sandyard.client.commands.background import BackgroundCommand
from sandyard.client.commands.commands import Commands
from sandyard.client.commands.forward import Forward
from sandyard.client.commands.shell import Shell
from sandyard.client.commands.terminal import Terminal
from sandyard.client.files.files import Files
from tests.unit import every_call

PROGRAM = pathlib.Path(__file__).with_name("typed_program.py")
# The synchronous face, class by class, and what is behind it.
FACES: dict[type, type] = {
    Sandbox: AsyncSandbox, sync.SyncCommands: Commands, sync.SyncFiles: Files, sync.SyncContexts: Contexts,
    sync.SyncCodeContext: CodeContext, sync.SyncShell: Shell, sync.SyncTerminal: Terminal,
    sync.SyncForward: Forward, sync.SyncBackgroundCommand: BackgroundCommand,
}  # fmt: skip
# What a call gives that has calls of its own.
GIVES: dict[str, type] = {
    "Sandbox.create": Sandbox, "Sandbox.connect": Sandbox, "Sandbox.shell": sync.SyncShell,
    "Sandbox.pty": sync.SyncTerminal, "Sandbox.forward": sync.SyncForward,
    "SyncCommands.start": sync.SyncBackgroundCommand, "SyncCommands.connect": sync.SyncBackgroundCommand,
    "SyncContexts.create": sync.SyncCodeContext, "SyncContexts.connect": sync.SyncCodeContext,
}  # fmt: skip


def public(face: type) -> dict[str, Any]:
    return {name: getattr(face, name) for name in vars(face) if not name.startswith("_")}


def check(*programs: pathlib.Path) -> str:
    settings = [f"--config-file={paths.REPOSITORY / 'pyproject.toml'}"]
    settings += [f"--cache-dir={paths.REPOSITORY / '.mypy_cache'}", "--no-error-summary", "--hide-error-context"]
    printed, trouble, _ = api.run([*settings, *map(str, programs)])
    assert not trouble
    return printed


def test_a_program_has_types_and_a_wrong_argument_is_an_error(tmp_path: pathlib.Path) -> None:
    # A mark that is not needed is an error too, so each marked line is refused as it says.
    assert check(PROGRAM, pathlib.Path(every_call.__file__)) == ""
    marked = {number for number, line in enumerate(PROGRAM.read_text().splitlines(), 1) if "# type: ignore[" in line}
    bare = tmp_path / "bare_program.py"
    bare.write_text(re.sub(r"  # type: ignore.*", "", PROGRAM.read_text()))
    refused = {int(number) for number in re.findall(r"^[^:\n]+:(\d+): error", check(bare), re.MULTILINE)}
    assert refused == marked


def test_the_synchronous_face_lacks_nothing_of_what_is_behind_it() -> None:
    assert set(FACES) == {face for name, face in vars(sync).items() if name == "Sandbox" or name.startswith("Sync")}
    for face, behind in FACES.items():
        assert set(public(face)) >= set(public(behind)), face


def test_the_program_that_is_checked_uses_every_call_with_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[str, set[str]] = defaultdict(set)
    there: dict[str, set[str]] = {}

    def instance(face: type) -> Any:
        made = face.__new__(face)
        for part, kind in (("commands", sync.SyncCommands), ("files", sync.SyncFiles), ("contexts", sync.SyncContexts)):
            vars(made)[part] = kind.__new__(kind) if face is Sandbox else None
        return made

    def recorder(face: type, name: str, signature: inspect.Signature) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            called = f"{face.__name__}.{name}"
            used[called] |= set(signature.bind(*args, **kwargs).arguments)
            # A terminal has ended where there is nothing more to read.
            return instance(GIVES[called]) if called in GIVES else b"" if called == "SyncTerminal.read" else MagicMock()

        return call

    for face in FACES:
        for name, value in public(face).items():
            is_property = isinstance(value, property)
            signature = inspect.signature(value.fget if is_property else value)  # type: ignore[arg-type]
            there[f"{face.__name__}.{name}"] = set(signature.parameters)
            call: Any = recorder(face, name, signature)
            own = inspect.ismethod(value) or "self" not in signature.parameters
            monkeypatch.setattr(face, name, property(call) if is_property else staticmethod(call) if own else call)
        for name in ("__enter__", "__exit__"):
            monkeypatch.setattr(face, name, lambda made, *_: made if not _ else None, raising=False)
    sandbox = every_call.finding(MagicMock())
    for use in (every_call.living, every_call.commands, every_call.sessions, every_call.code, every_call.files):
        use(sandbox)
    assert used == there
