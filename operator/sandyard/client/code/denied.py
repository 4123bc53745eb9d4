"""Whether a program failed at something that its sandbox forbids, by the last of what it said.

A program may say anything, so the word alone is nothing: it must stand where the language itself puts the error
that a refused call ends with.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = ["denied"]

_LAST_BYTES: Final = 1500
_ANY: Final = rb"Permission ?denied|Operation not permitted|Read-only file system|Network is unreachable"
# Of calls that a closed network lets wait, or of names that nobody resolves there.
_LOST: Final = (
    rb"timed out|name resolution|Name or service not known|No address associated|nodename nor servname|"
    rb"Failed to resolve|"
    rb"No route to host|Network is unreachable"
)
# As node and bun print errors of calls, and say their codes.
_CALL: Final = rb"(?:\bcode: ['\"]|Error: (?:[a-z]+ )?)"
_CODES: Final = _CALL + rb"(?:EACCES|EPERM|EROFS|ENETUNREACH)\b|os error (?:1|13|30|101)\)"
_LOST_CODES: Final = _CALL + rb"(?:ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|UND_ERR_CONNECT_TIMEOUT)\b"
_PYTHON_KIND: Final = rb"(?m)^(?:[\w.]*\.)?"
# Of urllib, urllib3, requests, httpx and aiohttp.
_CONNECTING: Final = rb"\w*(?:URL|Connection|Connect|Connector|DNS|ConnectTimeout|NameResolution|MaxRetry|Proxy)Error"
_PYTHON: Final = (
    _PYTHON_KIND + rb"(?:PermissionError: |(?:OSError|" + _CONNECTING + rb"): [^\n]*(?:" + _ANY + rb"))[^\n]*\s*\Z"
)  # fmt: skip
_PYTHON_LOST: Final = (
    _PYTHON_KIND + rb"(?:gaierror|herror|OSError|TimeoutError|timeout|\w*ConnectTimeout|" + _CONNECTING
    + rb"): [^\n]*(?:" + _LOST + rb")[^\n]*\s*\Z"
)  # fmt: skip
_PYTHON_TURNED_AWAY: Final = (
    _PYTHON_KIND + rb"(?:ConnectionRefusedError|OSError|" + _CONNECTING
    + rb"): [^\n]*(?:Connection refused|Connect call failed)[^\n]*\s*\Z"
)  # fmt: skip
# Shells name the file, a colon, and the reason at the end of the line.
_SHELL: Final = rb"(?m): (?:" + _ANY + rb")\s*$"
_SHELL_LOST: Final = (
    rb"(?im)(?:" + _LOST + rb"|could not resolve host|unable to resolve|failure resolving|bad address|"
    rb"failed to connect to (?!127\.|localhost|::1|\[::1))"
)

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


# Some networks refuse what others let wait.  So does this very machine where nobody listens: the address tells.
_TURNED_AWAY: Final = rb"(?i)connection ?refused|ECONNREFUSED|connect call failed"
# Of version 6 within quotes or brackets alone: code has colons of its own.
_ADDRESS: Final = re.compile(
    rb"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w.])|(?<=['\"])[0-9a-f]*:[0-9a-f:]*(?=['\"])"
    rb"|(?<=\[)[0-9a-f]+:[0-9a-f:]*:[0-9a-f]+(?=\]:[0-9])|\blocalhost\b",
    re.IGNORECASE,
)
_MOST_READ: Final = 100_000


def denied(language: str, said: bytes, *, closed: bool, program: bytes = b"") -> bool:
    """Whether the end of a program's standard error tells of a call that was refused.

    With a *closed* network, a name that is not found or an address that does not answer was refused too, and so
    was a connection that is turned away by another machine: by what it has *said*, or else by the *program* itself.
    """
    always, lost = _PATTERNS[language]
    end = said[-_LAST_BYTES:]
    if re.search(always, end) is not None:
        return True
    return closed and (re.search(lost, end) is not None or (_turned_away(language, end) and _elsewhere(said, program)))


def _turned_away(language: str, end: bytes) -> bool:
    pattern = _PYTHON_TURNED_AWAY if language == "python" else _TURNED_AWAY
    return re.search(pattern, end) is not None


def _elsewhere(*texts: bytes) -> bool:
    """Whether the first of *texts* that names machines names none but others."""
    for text in texts:
        named = [_is_elsewhere(found[0].lower()) for found in _ADDRESS.finditer(text[-_MOST_READ:])]
        known = [one for one in named if one is not None]
        if known:
            return all(known)
    return False


def _is_elsewhere(name: bytes) -> bool | None:
    """Whether it is the name of another machine; None: it is none."""
    if name == b"localhost":
        return False
    try:
        address = ipaddress.ip_address(name.decode())
    except ValueError:
        return None
    return not (address.is_loopback or address.is_unspecified)
