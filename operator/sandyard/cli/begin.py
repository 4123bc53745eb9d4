"""Where the program begins: before it does anything, Ctrl-C ends it without a word, while modules are read too."""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # What a command has under way hears of it (Context.run).
        signal.signal(signal.SIGINT, _leave)
    from sandyard.cli.main import main as program

    program()


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
