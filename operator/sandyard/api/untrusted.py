"""Reads what others have written: a sandbox, a container, a user with rights of their own.

Any bytes whatever give an answer, and never an exception: what is not understood is nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["fields", "whole_number"]

# Beyond it nothing of ours has anything to say.
_MOST_CHARACTERS: Final = 65536


def fields(text: str | bytes) -> dict[str, Any]:
    """The JSON object in *text*; empty if there is none."""
    if len(text) > _MOST_CHARACTERS:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def whole_number(text: object, most: int = 2**31 - 1) -> int | None:
    """A number from 0 to *most*, in decimal digits; None if it is not one."""
    if not isinstance(text, str) or not re.fullmatch("[0-9]{1,10}", text):
        return None
    number = int(text)
    return number if number <= most else None
