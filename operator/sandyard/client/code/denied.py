"""Whether a program failed at something that its sandbox forbids, by the last of what it said.

A program may say anything, so the word alone is nothing: it must stand where the language itself puts the error
that a refused call ends with.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["denied"]

_LAST_BYTES: Final = 1500
_ANY: Final = rb"Permission ?denied|Operation not permitted|Read-only file system|Network is unreachable"
# Of calls that a closed network lets wait, or of names that nobody resolves there.
_LOST: Final = (
    rb"timed out|name resolution|Name or service not known|No address associated|nodename nor servname|"
    rb"No route to host|Network is unreachable"
)
_CODES: Final = rb"\b(EACCES|EPERM|EROFS|ENETUNREACH)\b"
_LOST_CODES: Final = rb"\b(ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|UND_ERR_CONNECT_TIMEOUT)\b"
_PYTHON_KIND: Final = rb"(?m)^(?:[\w.]*\.)?"
_PYTHON: Final = (
    _PYTHON_KIND + rb"(?:PermissionError: |(?:OSError|\w*URLError|\w*ConnectionError|\w*ConnectError): [^\n]*(?:"
    + _ANY + rb"))[^\n]*\s*\Z"
)  # fmt: skip
_PYTHON_LOST: Final = (
    _PYTHON_KIND + rb"(?:gaierror|herror|OSError|TimeoutError|timeout|\w*URLError|\w*ConnectionError|\w*ConnectError|"
    rb"\w*ConnectTimeout|NewConnectionError): [^\n]*(?:" + _LOST + rb")[^\n]*\s*\Z"
)
# Shells name the file, a colon, and the reason at the end of the line.
_SHELL: Final = rb"(?m): (?:" + _ANY + rb")\s*$"
_SHELL_LOST: Final = rb"(?im)(?:" + _LOST + rb"|could not resolve host|bad address)"

# By language: what is always forbidden, and what is where the network is closed.
_PATTERNS: Final[dict[str, tuple[bytes, bytes]]] = {
    "python": (_PYTHON, _PYTHON_LOST),
    "javascript": (_CODES, _LOST_CODES),
    "typescript": (_CODES, _LOST_CODES),
    "go": (rb"(?i)(?::|panic:|error) [^\n]*(?:" + _ANY + rb")", rb"(?i)(?:i/o timeout|no such host|" + _LOST + rb")"),
    "rust": (rb"(?:code: (?:1|13|30|101), kind:|PermissionDenied|(?i:os error (?:1|13|30|101)\)))",
             rb"(?:code: (?:110|113), kind:|TimedOut|failed to lookup address)"),
    "bash": (_SHELL, _SHELL_LOST),
    "ruby": (rb"\(Errno::(?:EACCES|EPERM|EROFS|ENETUNREACH)\)",
             rb"\((?:SocketError|Socket::ResolutionError|Errno::ETIMEDOUT|Errno::EHOSTUNREACH|Net::OpenTimeout)\)"),
}  # fmt: skip


def denied(language: str, said: bytes, *, closed: bool) -> bool:
    """Whether the end of a program's standard error tells of a call that was refused.

    With a *closed* network, a name that is not found or an address that does not answer was refused too.
    """
    always, lost = _PATTERNS[language]
    end = said[-_LAST_BYTES:]
    return re.search(always, end) is not None or (closed and re.search(lost, end) is not None)
