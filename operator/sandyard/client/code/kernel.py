"""The Python interpreter of a context.  It runs inside the sandbox, where nothing but the standard library is sure.

``python3 kernel.py FOLDER`` reads lines ``PID FOLDER`` from the queue of the context and runs the file ``cell`` in
each of those folders, one after the other, in one namespace.  What a cell prints goes to 8 and 9 of the process
PID, its standard output and error; ``results.json`` gets what it has shown and how it ended, and the FIFO ``end``
gets 0, or 1 after an error.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import builtins
import contextlib
import inspect
import io
import json
import linecache
import os
import signal
import sys
import traceback
import types
from typing import Any

# Of everything that a cell shows; what is beyond it is named in "skipped".
MOST_BYTES = 8 * 1024 * 1024
MOST_RESULTS = 500
MOST_TRACEBACK = 60_000
_AWAIT = getattr(ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0)
# By these methods objects say how they look, as IPython has it.
_METHODS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_pdf_": "application/pdf",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
}


class Kernel:
    """One interpreter: its namespace, and the cell that it runs."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.pid = os.getpid()
        self.cell = ""
        self.running = False
        self.count = 0
        self.results: list[dict[str, Any]] = []
        self.skipped: list[str] = []
        self.room = MOST_BYTES
        self.loop: Any = None
        # It is __main__ for whatever looks a cell's functions and classes up there (pickle, processes).
        self.main = types.ModuleType("__main__")
        self.main.__dict__.update(__builtins__=builtins, display=self.display)

    def serve(self) -> None:
        """Run cells until the queue ends."""
        sys.modules["__main__"] = self.main
        sys.path[0] = ""
        sys.argv = [""]
        os.environ.setdefault("MPLBACKEND", "agg")
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True, write_through=False)
        signal.signal(signal.SIGINT, self.interrupted)
        with open(f"{self.folder}/queue") as queue:
            for line in queue:
                pid, _, folder = line.strip().partition(" ")
                self.take(pid, folder)

    def interrupted(self, *_: object) -> None:
        """SIGINT: the file ``interrupt`` names the cell that is meant; one that is over is not."""
        asked = ""
        with contextlib.suppress(OSError), open(f"{self.folder}/interrupt") as file:
            asked = file.read().strip()
        if self.running and asked in ("any", self.cell):
            raise KeyboardInterrupt

    def take(self, pid: str, folder: str) -> None:
        """Run the cell in *folder*, unless it was given up meanwhile."""
        self.cell = os.path.basename(folder)
        try:
            open(f"{folder}/begun", "w").close()
            if os.path.exists(f"{folder}/cancelled"):
                return
            with open(f"{folder}/cell", encoding="utf-8", errors="surrogateescape") as file:
                code = file.read()
            # The cell may take its folder away.
            end = os.open(f"{folder}/end", os.O_WRONLY | os.O_NONBLOCK)
            for stream in (1, 2):
                self.lead(stream, f"/proc/{pid}/fd/{stream + 7}")
        except OSError:
            # Whoever sent it is gone.
            return
        os.environ["SANDYARD_ARTIFACTS"] = f"{folder}/artifacts"
        before = sum(os.times()[:4])
        error = self.run(code)
        self.flush()
        if os.getpid() != self.pid:
            # The cell has forked, and this is the child.
            os._exit(0)
        answer = {"results": self.results, "error": error, "skipped": self.skipped,
                  "cpu": round(sum(os.times()[:4]) - before, 3)}  # fmt: skip
        for stream in (1, 2):
            self.lead(stream, os.devnull)
        with contextlib.suppress(OSError, ValueError), open(f"{folder}/results.json", "w") as file:
            json.dump(answer, file)
        with contextlib.suppress(OSError):
            os.write(end, b"1\n" if error else b"0\n")
            os.close(end)

    def lead(self, stream: int, path: str) -> None:
        """Let a standard stream lead there, for all that the cell starts too."""
        opened = os.open(path, os.O_WRONLY)
        if opened != stream:
            os.dup2(opened, stream, inheritable=True)
            os.close(opened)
        name = {1: "stdout", 2: "stderr"}[stream]
        if getattr(getattr(sys, name), "closed", False):
            setattr(sys, name, open(stream, "w", buffering=1, closefd=False))  # noqa: SIM115 - it stays

    def flush(self) -> None:
        """Hand over what is still in buffers."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()

    def run(self, code: str) -> dict[str, str] | None:
        """Run a cell; what went wrong, if something did."""
        self.count += 1
        self.results, self.skipped, self.room = [], [], MOST_BYTES
        name = f"<cell {self.count}>"
        # Without a time of change it is never looked up as a file.
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        try:
            self.running = True
            tree = ast.parse(code, name)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            self.execute(compile(tree, name, "exec", _AWAIT, dont_inherit=True))
            if isinstance(last, ast.Expr):
                value = self.execute(compile(ast.Expression(last.value), name, "eval", _AWAIT, dont_inherit=True))
                if value is not None:
                    self.main.__dict__["_"] = value
                    self.show(value, main=True)
            self.figures()
        except SystemExit as error:
            return None if error.code in (None, 0) else self.told(error)
        except BaseException as error:  # noqa: BLE001 - whatever a cell raises is an answer
            self.running = False
            return self.told(error)
        finally:
            self.running = False
        return None

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
        """Its name, its value, and where in the cells it came from."""
        kind = type(error)
        try:
            value = str(error)
        except Exception:  # noqa: BLE001 - of the cell's own
            value = "<its text cannot be made>"
        try:
            whole = traceback.TracebackException(kind, error, error.__traceback__)
            self.clear(whole)
            lines = "".join(whole.format())
        except Exception:  # noqa: BLE001 - as above
            lines = kind.__name__
        if len(lines) > MOST_TRACEBACK:
            half = MOST_TRACEBACK // 2
            lines = f"{lines[:half]}\n...\n{lines[-half:]}"
        return {"name": kind.__name__, "value": plain(value[:MOST_TRACEBACK]), "traceback": plain(lines)}

    def clear(self, whole: Any) -> None:
        """Take out what is the kernel's own, and what leads from it to the cell."""
        frames = [frame for frame in whole.stack if frame.filename != __file__]
        first = next((at for at, frame in enumerate(frames) if frame.filename.startswith("<cell ")), None)
        whole.stack = traceback.StackSummary.from_list(frames[first:] if first is not None else [])
        for other in (whole.__cause__, whole.__context__):
            if other is not None:
                self.clear(other)

    # What is shown

    def display(self, *values: Any) -> None:
        """Show values as results; for the cells."""
        for value in values:
            self.show(value, main=False)

    def show(self, value: Any, *, main: bool) -> None:
        """Add *value*, in each way in which it can show itself."""
        found: dict[str, Any] = {}
        if not isinstance(value, type):
            with contextlib.suppress(Exception):
                bundle: Any = getattr(value, "_repr_mimebundle_", lambda **_: {})(include=None, exclude=None)
                found.update(bundle[0] if isinstance(bundle, tuple) else bundle)
            for method, kind in _METHODS.items():
                with contextlib.suppress(Exception):
                    shown = getattr(value, method)() if kind not in found else None
                    if shown is not None:
                        found[kind] = shown[0] if isinstance(shown, tuple) else shown
        if "text/plain" not in found:
            found["text/plain"] = repr(value)
        self.add(found, main=main)

    def add(self, found: dict[str, Any], *, main: bool) -> None:
        """Keep a result, as far as there is room."""
        data = {}
        for kind, shown in found.items():
            text = written(shown)
            if len(self.results) >= MOST_RESULTS or len(text) > self.room:
                self.skipped.append(f"{kind} of {len(text)} characters: too much to show")
                continue
            self.room -= len(text)
            data[kind] = text
        if data:
            self.results.append({"data": data, "main": main})

    def figures(self) -> None:
        """Show the figures of matplotlib that are open, and close them."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            figure, picture = pyplot.figure(number), io.BytesIO()
            figure.savefig(picture, format="png", bbox_inches="tight")
            self.add({"image/png": picture.getvalue(), "text/plain": repr(figure)}, main=False)
        pyplot.close("all")


def written(shown: Any) -> str:
    """A way in which something shows itself, as a text: bytes in base64, what is no text as JSON."""
    if isinstance(shown, bytes):
        return base64.b64encode(shown).decode()
    return plain(shown if isinstance(shown, str) else json.dumps(shown))


def plain(text: str) -> str:
    """*text* without what UTF-8 does not have."""
    return text.encode("utf-8", "replace").decode()


if __name__ == "__main__":
    Kernel(sys.argv[1]).serve()
