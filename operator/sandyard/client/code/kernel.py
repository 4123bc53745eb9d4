"""The Python interpreter of a context.  It runs inside the sandbox, where nothing but the standard library is sure.

``python3 kernel.py FOLDER`` reads lines ``PID FOLDER`` from the queue of the context and runs the file ``cell`` in
each of those folders, one after the other, in one namespace.  What a cell prints goes to 8 and 9 of the process
PID, its standard output and error; ``results.json`` gets what it has shown and how it ended, and the FIFO ``end``
gets 0, or 1 after an error.
"""

from __future__ import annotations
import __future__

import ast
import asyncio
import base64
import binascii
import builtins
import contextlib
import inspect
import io
import json
import linecache
import os
import re
import signal
import sys
import tokenize
import traceback
import types
from collections.abc import Callable
from typing import Any

# Of everything that a cell shows; what is beyond it is named in "skipped".
MOST_BYTES = 8 * 1024 * 1024
MOST_RESULTS = MOST_SKIPPED = 500
MOST_TRACEBACK = 60_000
SPARE = 6
_AWAIT = getattr(ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0)
# What "from __future__ import ..." of a cell changes for those that follow.
_FUTURE = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_NO_WORDS = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_MAGIC = "; %, ! and ? are IPython's, and a cell is plain Python: subprocess.run runs a program"
# A cell may put another in its place.
_open = open
# What says that an object has a method of any name (a mock), as IPython finds it out.
_NO_METHOD = "_ipython_canary_method_should_not_exist_"
_KIND = re.compile(r"[a-z]{1,30}/[A-Za-z0-9.+_-]{1,80}")
# Forms that are bytes, or bytes in base64.
_BYTES = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")
# By these methods objects say how they look, as IPython has it.
_METHODS = {
    "_repr_html_": "text/html", "_repr_markdown_": "text/markdown", "_repr_latex_": "text/latex",
    "_repr_svg_": "image/svg+xml", "_repr_png_": "image/png", "_repr_jpeg_": "image/jpeg",
    "_repr_pdf_": "application/pdf", "_repr_json_": "application/json", "_repr_javascript_": "application/javascript",
}  # fmt: skip


class Kernel:
    """One interpreter: its namespace, and the cell that it runs."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.pid = os.getpid()
        self.cell, self.running, self.count = "", False, 0
        self.results: list[dict[str, Any]] = []
        self.skipped: list[str] = []
        self.room = MOST_BYTES
        self.loop: Any = None
        self.flags = _AWAIT
        self.spare: list[int] = []
        self.known = os.stat(f"{folder}/language")
        # It is __main__ for whatever looks a cell's functions and classes up there (pickle, processes).
        self.main = types.ModuleType("__main__")
        self.main.__dict__.update(__builtins__=builtins, display=self.display)

    def serve(self) -> None:
        """Run cells until the queue ends."""
        sys.modules["__main__"] = self.main
        sys.path[0], sys.argv = "", [""]
        os.environ.setdefault("MPLBACKEND", "agg")
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True, write_through=False)
        queue = f"{self.folder}/queue"
        while os.path.exists(queue):
            # A cell may close all files of its process, or put others there: then it is opened again, or this ends.
            self.release()
            lines = _open(queue, errors="replace")
            self.hold()
            with contextlib.suppress(OSError), lines:
                known = os.fstat(lines.fileno())
                for line in lines:
                    pid, _, folder = line.strip().partition(" ")
                    self.take(pid, folder)
                if os.path.samestat(os.fstat(lines.fileno()), known):
                    return

    def interrupted(self, *_: object) -> None:
        """SIGINT: the file ``interrupt`` names the cell that is meant; one that is over is not."""
        if not self.running:
            return
        asked = ""
        self.release()
        with contextlib.suppress(OSError), _open(f"{self.folder}/interrupt") as file:
            asked = file.read().strip()
        self.hold()
        if asked in ("any", self.cell):
            raise KeyboardInterrupt

    def hold(self) -> None:
        """Keep a few files open, so that there is a number for others when a cell has left none."""
        with contextlib.suppress(OSError):
            while len(self.spare) < SPARE:
                # Nothing can be read from such a one, should its number have been the queue's.
                self.spare.append(os.open(f"{self.folder}/language", os.O_PATH))

    def release(self) -> None:
        """Close them, but for what a cell has put in their place."""
        for number in self.spare:
            if attempt(lambda number=number: os.path.samestat(os.fstat(number), self.known), False):  # type: ignore[misc]
                os.close(number)
        self.spare = []

    def begin(self, pid: str, folder: str) -> tuple[str, int, os.stat_result] | None:
        """Open what the cell in *folder* needs: its text, and where its end is told; None: it was given up."""
        try:
            _open(f"{folder}/begun", "w").close()
            if os.path.exists(f"{folder}/cancelled"):
                return None
            with _open(f"{folder}/cell", encoding="utf-8", errors="surrogateescape") as file:
                code = file.read()
            # The cell may take its folder away.
            end = os.open(f"{folder}/end", os.O_WRONLY | os.O_NONBLOCK)
            for stream in (1, 2):
                self.lead(stream, f"/proc/{pid}/fd/{stream + 7}")
        except OSError:
            self.give_up(pid, folder)
            return None
        return code, end, os.fstat(end)

    def give_up(self, pid: str, folder: str) -> None:
        """End where somebody waits, for ever, for a cell: the shell that keeps the interpreter tells of its end."""
        if os.path.exists(f"{folder}/end") and os.path.exists(f"/proc/{pid}"):
            os._exit(1)

    def take(self, pid: str, folder: str) -> None:
        """Run the cell in *folder*, unless it was given up meanwhile."""
        self.cell = os.path.basename(folder)
        self.release()
        begun = self.begin(pid, folder)
        self.hold()
        if begun is None:
            return
        code, end, known = begun
        # One that some cell has set is for that cell.
        signal.signal(signal.SIGINT, self.interrupted)
        self.main.__dict__.setdefault("__name__", "__main__")
        self.main.__dict__.setdefault("display", self.display)
        os.environ["SANDYARD_ARTIFACTS"] = f"{folder}/artifacts"
        before = sum(os.times()[:4])
        error = self.run(code)
        self.flush()
        if os.getpid() != self.pid:
            # The cell has forked, and this is the child.
            os._exit(0)
        self.release()
        answer = {"results": self.results, "error": error, "skipped": self.skipped,
                  "cpu": round(sum(os.times()[:4]) - before, 3)}  # fmt: skip
        attempt(lambda: [self.lead(stream, os.devnull) for stream in (1, 2)], None)  # type: ignore[func-returns-value]
        with contextlib.suppress(OSError, ValueError), _open(f"{folder}/results.json", "w", encoding="utf-8") as file:
            json.dump(answer, file, ensure_ascii=False)
        try:
            # The cell may have closed that file as well, or put another in its place.
            if not attempt(lambda: os.path.samestat(os.fstat(end), known), False):
                end = os.open(f"{folder}/end", os.O_WRONLY | os.O_NONBLOCK)
            os.write(end, b"1\n" if error else b"0\n")
            os.close(end)
        except OSError:
            self.give_up(pid, folder)
        self.hold()

    def lead(self, stream: int, path: str) -> None:
        """Let a standard stream lead there, for all that the cell starts too."""
        opened = os.open(path, os.O_WRONLY)
        if opened != stream:
            os.dup2(opened, stream, inheritable=True)
            os.close(opened)
        name = {1: "stdout", 2: "stderr"}[stream]
        # A cell may have closed it, or taken it away.
        if attempt(lambda: getattr(sys, name).closed is True, not hasattr(sys, name)):
            setattr(sys, name, _open(stream, "w", buffering=1, closefd=False))

    def flush(self) -> None:
        """Hand over what is still in buffers."""
        for name in ("stdout", "stderr"):
            attempt(lambda name=name: getattr(sys, name).flush(), None)  # type: ignore[misc]

    def child(self, error: BaseException) -> None:
        """End a child that the cell has forked as it would end without us; elsewhere nothing happens."""
        if os.getpid() == self.pid:
            return
        code: Any = 1
        if isinstance(error, SystemExit):
            code = 0 if error.code is None else error.code
            if not isinstance(code, int):
                attempt(lambda: print(error.code, file=sys.stderr), None)
                code = 1
        else:
            attempt(lambda: print(self.lines(error), end="", file=sys.stderr), None)
        self.flush()
        os._exit(code & 0xFF)

    def run(self, code: str) -> dict[str, str] | None:
        """Run a cell; what went wrong, if something did."""
        self.count += 1
        self.results, self.skipped, self.room = [], [], MOST_BYTES
        name = f"<cell {self.count}>"
        # Without a time of change it is never looked up as a file.
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        try:
            self.running = True
            tree = self.parsed(code, name)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) and not is_quiet(code) else None
            self.execute(self.compiled(tree, name, "exec"))
            if isinstance(last, ast.Expr):
                value = self.execute(self.compiled(ast.Expression(last.value), name, "eval"))
                if value is not None:
                    self.main.__dict__["_"] = value
                    self.show(value, main=True)
            self.figures()
        except BaseException as error:  # noqa: BLE001 - whatever a cell raises is an answer
            self.running = False
            self.child(error)
            interrupted = isinstance(error, KeyboardInterrupt)
            attempt(lambda: self.figures(drawn=not interrupted), None)
            return None if is_exit(error) else self.told(error)
        finally:
            self.running = False
        return None

    def parsed(self, code: str, name: str) -> Any:
        """The cell's tree; of what only IPython knows the error says so."""
        try:
            return compile(code, name, "exec", self.flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        except SyntaxError as error:
            if error.text and error.offset and error.text[error.offset - 1 : error.offset] in ("%", "!", "?"):
                error.msg += _MAGIC
            raise

    def compiled(self, tree: Any, name: str, mode: str) -> types.CodeType:
        """Its code, by what the cells before have imported from ``__future__`` too."""
        code: types.CodeType = compile(tree, name, mode, self.flags, dont_inherit=True)
        self.flags |= code.co_flags & _FUTURE
        return code

    def execute(self, code: types.CodeType) -> Any:
        """Run it, to the end of what it awaits."""
        value = eval(code, self.main.__dict__)  # noqa: S307 - this is what a kernel is for
        if not code.co_flags & inspect.CO_COROUTINE:
            return value
        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        task = self.loop.create_task(value)
        try:
            return self.loop.run_until_complete(task)
        finally:
            if not task.done():
                task.cancel()
                self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))

    def told(self, error: BaseException) -> dict[str, str]:
        """Its name, its value, and where in the cells it came from; each as far as the cell's own classes let it."""
        name = attempt(lambda: plain(type(error).__name__), "Error")
        value = attempt(lambda: plain(str(error))[:MOST_TRACEBACK], "<its text cannot be made>")
        lines = attempt(lambda: plain(self.lines(error)), name)
        if len(lines) > MOST_TRACEBACK:
            lines = f"{lines[: MOST_TRACEBACK // 2]}\n...\n{lines[-MOST_TRACEBACK // 2 :]}"
        return {"name": name, "value": value, "traceback": lines}

    def lines(self, error: BaseException) -> str:
        """Its traceback, as Python prints it."""
        whole = traceback.TracebackException(type(error), error, error.__traceback__)
        self.clear(whole)
        return "".join(whole.format())

    def clear(self, whole: Any) -> None:
        """Take out what is the kernel's own, and what leads from it to the cell."""
        frames = [frame for frame in whole.stack if frame.filename != __file__]
        first = next((at for at, frame in enumerate(frames) if frame.filename.startswith("<cell ")), None)
        whole.stack = traceback.StackSummary.from_list(frames[first:] if first is not None else [])
        for other in (whole.__cause__, whole.__context__, *(getattr(whole, "exceptions", None) or ())):
            if other is not None:
                self.clear(other)

    # What is shown

    def display(self, *values: Any) -> None:
        """Show values as results; for the cells."""
        for value in values:
            self.show(value, main=False)

    def show(self, value: Any, *, main: bool) -> None:
        """Add *value*, in each way in which it can show itself."""
        found = {} if isinstance(value, type) or attempt(lambda: hasattr(value, _NO_METHOD), True) else forms(value)
        if "text/plain" not in found:
            found["text/plain"] = repr(value)
        self.add(found, main=main)

    def add(self, found: dict[str, Any], *, main: bool) -> None:
        """Keep a result, as far as there is room."""
        data = {}
        for kind, shown in found.items():
            text = attempt(lambda kind=kind, shown=shown: written(kind, shown), None)  # type: ignore[misc]
            if text is None:
                self.skip(f"{plain(str(kind))[:80]}: not of a form that can be shown")
                continue
            # As it takes place in the answer.
            size = len(text) if len(text) > self.room else len(json.dumps(text, ensure_ascii=False).encode())
            if len(self.results) >= MOST_RESULTS or size > self.room:
                self.skip(f"{kind} of {len(text)} characters: too much to show")
                continue
            self.room -= size
            data[kind] = text
        if data:
            self.results.append({"data": data, "main": main})

    def skip(self, why: str) -> None:
        """Say what is not shown."""
        self.skipped += [why][: MOST_SKIPPED - len(self.skipped)]

    def figures(self, *, drawn: bool = True) -> None:
        """Show the figures of matplotlib that are open, unless there is no time for that, and close them."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        try:
            for number in pyplot.get_fignums() if drawn else ():
                figure, picture = pyplot.figure(number), io.BytesIO()
                figure.savefig(picture, format="png", bbox_inches="tight")
                self.add({"image/png": picture.getvalue(), "text/plain": repr(figure)}, main=False)
        finally:
            # Those of one cell are not for the next.
            pyplot.close("all")


def attempt(make: Callable[[], Any], otherwise: Any) -> Any:
    """What *make* gives; *otherwise* where what a cell has defined or changed fails."""
    try:
        return make()
    except BaseException:  # noqa: BLE001 - a cell's own method may raise anything
        return otherwise


def is_quiet(code: str) -> bool:
    """Whether the cell ends with a semicolon: then its last value is not shown."""

    def last() -> str:
        words = tokenize.generate_tokens(io.StringIO(code).readline)
        return [word.string for word in words if word.type not in _NO_WORDS][-1]

    return ";" in code and bool(attempt(last, "") == ";")


def is_exit(error: BaseException) -> bool:
    """Whether it is an exit without a complaint."""
    return isinstance(error, SystemExit) and bool(attempt(lambda: error.code in (None, 0), False))


def forms(value: Any) -> dict[str, Any]:
    """The ways in which *value* can show itself, by media type."""
    found: dict[str, Any] = {}
    with contextlib.suppress(Exception):
        bundle: Any = getattr(value, "_repr_mimebundle_", lambda **_: {})(include=None, exclude=None)
        found.update(bundle[0] if isinstance(bundle, tuple) else bundle)
    for method, kind in _METHODS.items():
        with contextlib.suppress(Exception):
            shown = getattr(value, method)() if kind not in found else None
            if shown is not None:
                found[kind] = shown[0] if isinstance(shown, tuple) else shown
    return found


def written(kind: Any, shown: Any) -> str | None:
    """A form as a text: bytes in base64, what is no text as JSON; None: nobody could read it."""
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        return None
    if kind not in _BYTES:
        return plain(shown if isinstance(shown, str) else json.dumps(shown))
    if isinstance(shown, str):
        shown = binascii.a2b_base64(shown)
    return base64.b64encode(shown).decode()


def plain(text: str) -> str:
    """*text* without what UTF-8 does not have; of a text's own class nothing is called."""
    return str.encode(text, "utf-8", "replace").decode()


if __name__ == "__main__":
    Kernel(sys.argv[1]).serve()
