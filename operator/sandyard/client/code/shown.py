"""What a cell has shown, as its interpreter tells it: results in several forms, and the error that it ended with.

The interpreter shares its process with the program, so nothing of this is believed: each part is bounded, and
of the kind that it must be.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sandyard.client import answers
from sandyard.client.errors import BadAnswer

__all__ = ["MOST_BYTES", "CodeError", "CodeOutput", "Shown", "shown"]

T = TypeVar("T")
MOST_BYTES: Final = 16 * 1024 * 1024
_MOST_RESULTS: Final = 1000
_MOST_KINDS: Final = 30
_MOST_SKIPPED: Final = 1000
_LONGEST_NAME: Final = 200
_LONGEST_TEXT: Final = 100_000
_KIND: Final = re.compile(r"[a-z]{1,30}/[A-Za-z0-9.+_-]{1,80}")
# Forms that are bytes; they come in base64.
_BYTES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")


@dataclass(frozen=True)
class CodeOutput:
    """One thing that a cell has shown, in each form in which it can show itself.

    Attributes
    ----------
    data
        By media type: bytes for pictures and PDF, text for everything else.
    main
        Whether it is the value of the cell's last expression.
    """

    data: Mapping[str, str | bytes] = field(default_factory=dict)
    main: bool = False

    @property
    def text(self) -> str | None:
        """The plain text, as ``repr`` has it."""
        return self._text("text/plain")

    @property
    def html(self) -> str | None:
        """The HTML, for example of a DataFrame. It is the program's: show it only where it can do no harm."""
        return self._text("text/html")

    @property
    def markdown(self) -> str | None:
        """The Markdown."""
        return self._text("text/markdown")

    @property
    def latex(self) -> str | None:
        """The LaTeX."""
        return self._text("text/latex")

    @property
    def svg(self) -> str | None:
        """The picture as SVG; as HTML, it may hold scripts."""
        return self._text("image/svg+xml")

    @property
    def png(self) -> bytes | None:
        """The picture as PNG, for example of a figure of matplotlib."""
        return self._bytes("image/png")

    @property
    def jpeg(self) -> bytes | None:
        """The picture as JPEG."""
        return self._bytes("image/jpeg")

    @property
    def pdf(self) -> bytes | None:
        """The PDF."""
        return self._bytes("application/pdf")

    @property
    def json(self) -> Any:
        """What its JSON stands for; None where it has none, or none that can be read."""
        try:
            return answers.document((self._text("application/json") or "null").encode(), "json", most_bytes=MOST_BYTES)
        except BadAnswer:
            return None

    def _text(self, kind: str) -> str | None:
        value = self.data.get(kind)
        return value if isinstance(value, str) else None

    def _bytes(self, kind: str) -> bytes | None:
        value = self.data.get(kind)
        return value if isinstance(value, bytes) else None


@dataclass(frozen=True)
class CodeError:
    """The exception that a cell has ended with.

    Attributes
    ----------
    name, value
        Its class and its message: ``ZeroDivisionError``, ``division by zero``.
    traceback
        How the program came there, line by line, with nothing of the interpreter that runs the cells.
    """

    name: str
    value: str
    traceback: str = ""


@dataclass(frozen=True)
class Shown:
    """All that an interpreter has told of a cell; *skipped* names what was too much."""

    results: list[CodeOutput] = field(default_factory=list)
    error: CodeError | None = None
    skipped: list[str] = field(default_factory=list)
    cpu_seconds: float | None = None


def shown(told: bytes) -> Shown:
    """Read ``results.json``.

    Raises
    ------
    BadAnswer
        It is not what an interpreter of ours writes.
    """
    whole = _of(dict, answers.document(told, "results.json", most_bytes=MOST_BYTES))
    results, error, cpu = _of(list, whole.get("results", [])), whole.get("error"), whole.get("cpu")
    skipped = [answers.text(_of(str, one), 300) for one in _of(list, whole.get("skipped", []))[:_MOST_SKIPPED]]
    if len(results) > _MOST_RESULTS:
        raise BadAnswer(f"results.json: {len(results)} results")
    fine = isinstance(cpu, int | float) and not isinstance(cpu, bool) and 0 <= cpu < 10**9
    return Shown(
        [_output(one) for one in results], _error(_of(dict, error)) if error is not None else None, skipped,
        float(cpu) if fine and cpu is not None else None,
    )  # fmt: skip


def _output(told: Any) -> CodeOutput:
    data = _of(dict, _of(dict, told).get("data"))
    if len(data) > _MOST_KINDS:
        raise BadAnswer(f"results.json: a result of {len(data)} forms")
    return CodeOutput({kind: _value(kind, _of(str, value)) for kind, value in data.items()}, told.get("main") is True)


def _value(kind: str, value: str) -> str | bytes:
    if not _KIND.fullmatch(kind):
        raise BadAnswer(f"results.json: {kind[:_LONGEST_NAME]!r} is no media type")
    if kind not in _BYTES:
        return _text(value)
    try:
        return base64.b64decode(value.encode("ascii", "replace").replace(b"\n", b""), validate=True)
    except binascii.Error:
        raise BadAnswer(f"results.json: {kind} is not in base64") from None


def _error(told: dict[str, Any]) -> CodeError:
    name, value, traceback = (_text(_of(str, told.get(key, ""))) for key in ("name", "value", "traceback"))
    return CodeError(answers.text(name, _LONGEST_NAME), value[:_LONGEST_TEXT], traceback[:_LONGEST_TEXT])


def _text(value: str) -> str:
    """*value* without half characters, which nothing could print."""
    return value.encode(errors="replace").decode()


def _of(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise BadAnswer(f"results.json: {answers.text(repr(value)[:_LONGEST_NAME])} is no {kind.__name__}")
    return value
