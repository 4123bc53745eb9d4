"""A server of the Model Context Protocol: a model makes sandboxes, runs code in them and reads and writes their files.

Needs the extra ``sandyard[mcp]``.  A client sees the sandboxes that it has made and no others: each is known by a
random id, which is no name of the cluster's.  All of them end with the server, or after their lifetime.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeVar

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from sandyard import __version__
from sandyard.client.code.contexts import CodeContext
from sandyard.client.errors import CommandTimeout, ContextEnded, ContextNotFound, SandboxError
from sandyard.client.files.listing import FileInfo
from sandyard.client.result import CommandResult
from sandyard.client.sandbox import AsyncSandbox

__all__ = ["Tools", "serving"]

_INSTRUCTIONS: Final = (
    "Runs untrusted code in isolated sandboxes. Call create_sandbox first and pass its id to every other tool; "
    "delete_sandbox when you are done. Variables, imports and files stay between calls of run_code."
)
# More than a model reads; what is left out is said.
_MOST_CHARACTERS: Final = 30_000
_MOST_IMAGES: Final = 8
_PICTURES: Final = ("image/png", "image/jpeg")
Id = Annotated[str, Field(description="What create_sandbox returned.")]
Seconds = Annotated[float, Field(gt=0, le=3600, description="After so many seconds it is interrupted.")]
T = TypeVar("T")


@dataclass
class _Made:
    """A sandbox of a client's, and the interpreters that it has, by language."""

    sandbox: AsyncSandbox
    contexts: dict[str, CodeContext] = field(default_factory=dict)


class Tools:
    """The tools of one server.

    Parameters
    ----------
    options
        What each sandbox is made with: options of `AsyncSandbox.create`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._made: dict[str, _Made] = {}

    async def create_sandbox(self) -> str:
        """Make a sandbox. Returns its id, which the other tools ask for."""
        made = await _told(AsyncSandbox.create(**self._options))
        key = secrets.token_hex(16)
        self._made[key] = _Made(made)
        return key

    async def delete_sandbox(self, sandbox: Id) -> str:
        """Delete a sandbox with all that is in it."""
        made = self._of(sandbox)
        del self._made[sandbox]
        await _told(_end(made.sandbox))
        return "deleted"

    async def run_code(
        self,
        sandbox: Id,
        code: Annotated[str, Field(description="The program.")],
        language: Literal["python", "javascript", "bash"] = "python",
        timeout: Seconds = 60.0,
    ) -> list[str | Image]:
        """Run code in an interpreter that stays: what it sets and imports is there at the next call.

        Returns JSON with outcome, exit_code, stdout, stderr, results (the value of the last expression among them) and
        error (name, value and traceback), and then the pictures that the code has shown.
        """
        made = self._of(sandbox)
        if language not in made.contexts:
            made.contexts[language] = await _told(made.sandbox.contexts.create(language))
        try:
            done = await made.sandbox.run_code(code, context=made.contexts[language], timeout=timeout)
        except (ContextEnded, ContextNotFound) as error:
            # The next call begins anew.
            gone = made.contexts.pop(language)
            with contextlib.suppress(SandboxError):
                await gone.remove()
            raise ToolError(
                "the interpreter has ended and its variables are lost; this code was not run: call again, for a new one"
            ) from error
        except SandboxError as error:
            raise ToolError(str(error)) from error
        failed = done.error
        told = {
            "outcome": done.outcome, "limit": done.limit, "exit_code": done.exit_code,
            "stdout": _text(done.stdout_text), "stderr": _text(done.stderr_text),
            "results": [_text(one.text) for one in done.results if one.text],
            "error": None if failed is None else {
                "name": failed.name, "value": _text(failed.value), "traceback": _text(failed.traceback)},
        }  # fmt: skip
        found = [(one.data.get(kind), kind) for one in done.results for kind in _PICTURES]
        pictures = [Image(data=data, format=kind.partition("/")[2]) for data, kind in found if isinstance(data, bytes)]
        return [json.dumps(told), *pictures[:_MOST_IMAGES]]

    async def run_command(
        self,
        sandbox: Id,
        command: Annotated[str, Field(description="A line for /bin/sh.")],
        cwd: Annotated[str, Field(description="Folder to run it in; by default the workspace.")] = ".",
        timeout: Seconds = 60.0,
    ) -> dict[str, Any]:
        """Run a shell command. Returns exit_code, stdout, stderr and whether it was ended by the time-out."""
        done = await _told(_as_far(self._of(sandbox).sandbox.commands.run(command, cwd=cwd, timeout=timeout)))
        return {"exit_code": done.exit_code, "stdout": _text(done.stdout_text), "stderr": _text(done.stderr_text),
                "timed_out": done.timed_out}  # fmt: skip

    async def read_file(self, sandbox: Id, path: str) -> str:
        """Read a text file."""
        return _text(await _told(self._of(sandbox).sandbox.files.read_text(path)))

    async def write_file(self, sandbox: Id, path: str, text: str) -> str:
        """Write a text file, and the folders that it stands in; what was there is replaced."""
        await _told(self._of(sandbox).sandbox.files.write(path, text))
        return f"wrote {len(text.encode())} bytes to {path}"

    async def list_files(
        self, sandbox: Id, path: str = ".", depth: Annotated[int, Field(ge=1, le=10)] = 1
    ) -> list[dict[str, Any]]:
        """List a folder. Returns path, type and size of each entry."""
        found = await _told(self._of(sandbox).sandbox.files.list(path, depth=depth))
        return [{"path": one.name, "type": _kind(one), "size": one.size} for one in found]

    async def close(self) -> None:
        """Delete all sandboxes that are left."""
        while self._made:
            _, made = self._made.popitem()
            with contextlib.suppress(SandboxError):
                await _end(made.sandbox)

    def _of(self, key: str) -> _Made:
        made = self._made.get(key)
        if made is None:
            raise ToolError("no such sandbox: call create_sandbox, and pass the id that it returns")
        return made


@contextlib.asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[MCPServer[Any]]:
    """Yield a server whose sandboxes are made with *options*, as `AsyncSandbox.create` has them; they end with it.

    Run it with its own ``run_stdio_async`` or ``run_streamable_http_async``.
    """
    tools = Tools(options)
    made = MCPServer[Any]("sandyard", instructions=_INSTRUCTIONS, version=__version__)
    calls: tuple[Callable[..., Any], ...] = (
        tools.create_sandbox, tools.run_code, tools.run_command, tools.read_file, tools.write_file, tools.list_files,
        tools.delete_sandbox,
    )  # fmt: skip
    for call in calls:
        made.add_tool(call)
    try:
        yield made
    finally:
        await tools.close()


def _kind(one: FileInfo) -> str:
    return "folder" if one.is_dir else "link" if one.is_link else "file" if one.is_file else "other"


async def _end(sandbox: AsyncSandbox) -> None:
    try:
        await sandbox.kill()
    finally:
        await sandbox.close()


async def _told(call: Coroutine[Any, Any, T]) -> T:
    """Await *call*; what is wrong is told to the model, which can do something about it."""
    try:
        return await call
    except SandboxError as error:
        raise ToolError(str(error)) from error


async def _as_far(run: Coroutine[Any, Any, CommandResult]) -> CommandResult:
    """A command's result, also if its time was over: what it had said by then."""
    try:
        return await run
    except CommandTimeout as error:
        return error.result


def _text(text: str) -> str:
    """As much of *text* as a model can take."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]}\n[{len(text) - _MOST_CHARACTERS} more characters]"
