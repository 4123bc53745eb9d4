"""Reads what a sandbox has said: bounded in size, depth and digits, and never with an error that is not ours.

Whoever is inside can forge each byte of it.  So each reader here gives a plain value, or `BadAnswer`.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

from sandyard.api import conditions
from sandyard.client.errors import BadAnswer

__all__ = ["decimal", "document", "is_decimal", "number", "octal", "text", "words"]

# More than any size or time needs: 2**63 has 19 digits.
_DIGITS: Final = re.compile(rb"-?[0-9]{1,19}")
_DECIMAL: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{1,19})?")
_OCTAL: Final = re.compile(rb"[0-7]{1,7}")
# What a message quotes of an answer.
_QUOTED: Final = 80
# Python itself can neither print nor copy what is nested as deep as its own calls may be.
_DEEPEST: Final = 200
_MOST_DIGITS: Final = 400


def number(said: bytes | str, what: str, *, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number between *least* and *most*; *what* names it in the error.

    Raises
    ------
    BadAnswer
        It is none.
    """
    raw = said.encode(errors="replace") if isinstance(said, str) else said
    if _DIGITS.fullmatch(raw) and least <= int(raw) <= most:
        return int(raw)
    raise _bad(what, raw)


def octal(said: bytes, what: str) -> int:
    """Permissions, as ``chmod`` takes them."""
    if _OCTAL.fullmatch(said):
        return int(said, 8)
    raise _bad(what, said)


def decimal(said: str, what: str) -> float:
    """A number that is not below zero, with or without a fraction."""
    if is_decimal(said):
        return float(said)
    raise _bad(what, said.encode(errors="replace"))


def is_decimal(said: str) -> bool:
    """Whether `decimal` takes it."""
    return _DECIMAL.fullmatch(said) is not None


def words(said: bytes, count: int, what: str) -> list[bytes]:
    """Just so many words."""
    found = said.split(None, count)
    if len(found) == count:
        return found
    raise _bad(what, said)


def text(said: bytes | str, most: int = 4096) -> str:
    """*said* on one line that a terminal prints and does not obey."""
    whole = said[: 4 * most].decode(errors="replace") if isinstance(said, bytes) else said
    return conditions.printable(whole[:most])


def document(said: bytes, what: str, *, most_bytes: int) -> Any:
    """The JSON in *said*: no NaN, nothing infinite, no number of hundreds of digits, no deep nesting.

    Raises
    ------
    BadAnswer
        It is none of that kind.
    """
    if len(said) > most_bytes:
        raise BadAnswer(f"{what}: larger than {most_bytes} bytes")
    try:
        found = json.loads(said, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise BadAnswer(f"{what}: nested deeper than {_DEEPEST}") from None
    except ValueError as error:
        raise BadAnswer(f"{what}: no JSON: {text(str(error), 200)}") from None
    if not _shallow(found):
        raise BadAnswer(f"{what}: nested deeper than {_DEEPEST}")
    return found


def _shallow(found: Any) -> bool:
    level, depth = [found], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            return False
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return True


def _no_number(said: str) -> NoReturn:
    raise ValueError(f"{said} is no number of JSON")


def _finite(said: str) -> float:
    found = float(said)
    if math.isfinite(found):
        return found
    raise ValueError(f"{said[:_QUOTED]} is too large")


def _whole(said: str) -> int:
    if len(said) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(said)} digits")
    return int(said)


def _bad(what: str, said: bytes) -> BadAnswer:
    return BadAnswer(f"{what}: the sandbox has answered {said[:_QUOTED]!r}; a program inside may have changed it")
