"""Names of variables that a shell cannot hand on: what it has no name for, and what it keeps to itself."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["OWN", "is_settable"]

_NAME: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
# Of bash(1), dash(1), mksh(1) and busybox ash: read-only there, or with values that the shell itself makes or refuses.
OWN: Final = frozenset({
    "_", "COLUMNS", "COPROC", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "FUNCNEST",
    "GROUPS", "HISTCMD", "HISTSIZE", "IFS", "KSHEGID", "KSHGID", "KSHUID", "KSH_MATCH", "KSH_VERSION", "LINENO",
    "LINES", "OPTARG", "OPTIND", "PATHSEP", "PGRP", "PIPESTATUS", "PPID", "RANDOM", "SECONDS", "SHELLOPTS",
    "SHLVL", "SRANDOM", "TMOUT", "UID", "USER_ID",
})  # fmt: skip


def is_settable(name: str) -> bool:
    """Whether every shell that exports *name* hands on the value that it was given."""
    return _NAME.fullmatch(name) is not None and name not in OWN and not name.startswith("BASH")
