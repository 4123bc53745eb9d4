"""Sandboxes for programs of others: each module needs an extra of its own, and is imported by whoever uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["needs"]


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say which *extra* brings the package that an import within misses."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        text = f"{package} is missing: pip install 'sandyard[{extra}]'"
        raise ModuleNotFoundError(text, name=error.name) from error
