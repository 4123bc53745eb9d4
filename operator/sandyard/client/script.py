"""What runs inside the sandbox around each command: a POSIX shell, and nothing else of the image but ``cat``.

The script runs the command in the background and waits for it, then writes a mark with the exit
code to both streams. So the end is known although a child of the command still holds a stream,
and silence is never taken for success.  All processes of a command carry its id in their
environment; the second mode ends all of them, also those that have left their session.  A watch
inside the sandbox does so when the command's time is over, should the client be gone by then.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["LONGEST_ARGUMENTS", "Tail", "kill", "new_id", "run"]

_TAG: Final = "SANDYARD_EXEC"
# Everything travels in the URL of the request; some proxies take no more than 8 KiB of it.
LONGEST_ARGUMENTS: Final = 5000

# $1 mode, $2 id; run: $3 seconds after which a watch ends it (0: never), $4 folder, then
# NAME=VALUE..., --, the command; kill: $3 signal, $4 seconds until KILL.
_SCRIPT: Final = r"""
tagged() {
  for f in /proc/[0-9]*; do
    p=${f#/proc/}
    [ "$p" = $$ ] || case $(cat "$f/environ" 2>/dev/null) in *"SANDYARD_EXEC=$1"*)
      read -r s <"$f/stat" 2>/dev/null || continue
      case ${s##*) } in [ZX]*) ;; *) echo "$p" ;; esac
    esac
  done 2>/dev/null
}
end() {
  n=0
  while l=$(tagged "$1"); [ -n "$l" ]; do
    [ $n -ge $(($3 * 10)) ] && set -- "$1" KILL 0
    [ $n -gt $(($3 * 10 + 300)) ] && return 1
    [ $n = 0 ] || [ "$2" = KILL ] && kill -s "$2" $l
    n=$((n + 1))
    sleep 0.1 || sleep 1
  done 2>/dev/null
}
m=$2
if [ "$1" = kill ]; then end "$m" "$3" "$4"; exit; fi
t=$3 d=$4
shift 4
while [ "$1" != -- ]; do export "$1"; shift; done
shift
cd "$d" || exit 125
export SANDYARD_EXEC="$m"
exec 3<&0
"$@" <&3 3<&- &
c=$!
exec 3<&-
w=
watch() {
  trap 'kill $s; exit' USR1
  SANDYARD_EXEC= sleep "$t" &
  s=$!
  wait $s && end "$m" TERM 5
}
[ "$t" = 0 ] || { watch >/dev/null 2>&1 </dev/null & w=$!; }
{ wait $c; } 2>/dev/null
r=$?
[ -z "$w" ] || kill -s USR1 $w 2>/dev/null
printf '\000%s:%s\000' "$m" $r
printf '\000%s:%s\000' "$m" $r >&2
exit $r
"""


def new_id() -> str:
    """An id that no output contains by chance."""
    return secrets.token_hex(16)


def run(
    exec_id: str, command: str | Sequence[str], *, folder: str, env: Mapping[str, str], watch_seconds: int
) -> list[str]:
    """The arguments of an exec that runs *command*; a text is run by ``/bin/sh -c``."""
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    variables = [f"{name}={value}" for name, value in env.items()]
    head = ["/bin/sh", "-c", _SCRIPT.strip(), "sandyard", "run", exec_id, str(watch_seconds), folder]
    return [*head, *variables, "--", *words]


def kill(exec_id: str, signal: str = "TERM", grace_seconds: int = 5) -> list[str]:
    """The arguments of an exec that ends every process of a command."""
    return ["/bin/sh", "-c", _SCRIPT.strip(), "sandyard", "kill", exec_id, signal, str(grace_seconds)]


class Tail:
    """One stream of output: keeps its beginning and its end, and finds the mark that ends it.

    Parameters
    ----------
    exec_id
        Id in the mark.
    limit
        Most bytes that are kept, half of them from the beginning.
    """

    def __init__(self, exec_id: str, limit: int) -> None:
        self._mark = b"\x00" + exec_id.encode() + b":"
        # A mark with its code and the last zero.
        self._longest = len(self._mark) + 4
        self._half = max(1, limit // 2)
        self._head = bytearray()
        self._end = bytearray()
        self._pending = b""
        self.omitted = 0
        self.exit_code: int | None = None

    @property
    def ended(self) -> bool:
        """Whether the mark has come."""
        return self.exit_code is not None

    def feed(self, data: bytes) -> bytes:
        """Take in *data*; returns what of it (and of before) is output for certain."""
        if self.ended:
            # A child that lives on writes to the same stream; it is not the command any more.
            return b""
        data = self._pending + data
        start = data.find(self._mark)
        if start >= 0:
            code, ending, _ = data[start + len(self._mark) :].partition(b"\x00")
            if ending:
                self.exit_code = int(code)
                self._pending = b""
                return self._keep(data[:start])
            self._pending = data[start:]
            return self._keep(data[:start])
        # The mark may have begun in the last bytes.
        cut = data.rfind(b"\x00", max(0, len(data) - self._longest))
        cut = cut if cut >= 0 and self._mark.startswith(data[cut:]) else len(data)
        self._pending = data[cut:]
        return self._keep(data[:cut])

    def rest(self) -> bytes:
        """The stream has broken off: what looked like a mark was none."""
        pending, self._pending = self._pending, b""
        return self._keep(pending)

    def value(self) -> bytes:
        """What is kept."""
        return bytes(self._head + self._end)

    def _keep(self, data: bytes) -> bytes:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._end += data[room:] if room > 0 else data
        if len(self._end) > 2 * self._half:
            self._forget()
        return data

    def _forget(self) -> None:
        surplus = len(self._end) - self._half
        if surplus > 0:
            del self._end[:surplus]
            self.omitted += surplus

    def close(self) -> None:
        """No more will come: keep just what is to be kept."""
        self._forget()
