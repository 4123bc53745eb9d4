"""Stops and continues every process of a sandbox, from inside and as its own user.

The script needs nothing of the image but ``/bin/sh`` and ``/proc``.  It signals, then *looks*:
a process that forks while it is being stopped is found in the next round, and what cannot be
stopped is reported rather than believed.  One that waits within the kernel (state D) runs nothing
either, and stops before it would: that is where a parent stays whose child was stopped between
vfork and exec.  It counts when two looks find the same ones there, as each was signalled in
between.  Process 1 is the pause container, which is not the
sandbox's; the script itself is spared, being the one who looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sandyard.api import untrusted

__all__ = ["COMMAND", "Report", "read", "script"]

COMMAND: Final = ("/bin/sh", "-s")
_ROUNDS: Final = 100

_SCRIPT: Final = """
signal={signal} wanted={wanted} round=0 before=
while :; do
  for folder in /proc/[0-9]*; do
    process=${{folder#/proc/}}
    [ "$process" = 1 ] || [ "$process" = $$ ] || kill -s $signal "$process" 2>/dev/null
  done
  left= blocked= count=0
  for folder in /proc/[0-9]*; do
    process=${{folder#/proc/}}
    [ "$process" = 1 ] && continue
    [ "$process" = $$ ] && continue
    read -r line <"$folder/stat" 2>/dev/null || continue
    rest=${{line##*) }}
    case "$wanted:${{rest%% *}}" in
      *:Z|*:X) ;;
      stopped:T|stopped:t) count=$((count + 1)) ;;
      stopped:D) blocked="$blocked $process" count=$((count + 1)) ;;
      running:[!Tt]) count=$((count + 1)) ;;
      *) left="$left $process" ;;
    esac
  done
  [ -z "$left" ] && [ "$blocked" = "$before" ] && echo "sandyard: $wanted $count" && exit 0
  before=$blocked
  round=$((round + 1))
  [ $round -ge {rounds} ] && echo "sandyard: left$left$blocked" && exit 3
  sleep 0.05 2>/dev/null
done
"""


@dataclass(frozen=True)
class Report:
    """What the script found.

    Attributes
    ----------
    done
        Whether every process is as wanted.
    count
        Number of processes that are.
    why
        What is not, in a sentence; empty when done.
    """

    done: bool
    count: int = 0
    why: str = ""


def script(*, stopped: bool) -> bytes:
    """The script that stops (or continues) everything, for the standard input of `COMMAND`."""
    signal, wanted = ("STOP", "stopped") if stopped else ("CONT", "running")
    return _SCRIPT.format(signal=signal, wanted=wanted, rounds=_ROUNDS).encode()


def read(exit_code: int | None, stdout: bytes, message: str) -> Report:
    """Understand what the script has said; what it did not say is not believed."""
    lines = stdout.decode(errors="replace").splitlines()
    words = next((line[:1024].split() for line in reversed(lines) if line.startswith("sandyard: ")), [])
    count = untrusted.whole_number(words[2]) if len(words) == 3 else None
    if exit_code == 0 and count is not None:
        return Report(True, count)
    if len(words) > 2 and words[1] == "left":
        return Report(False, why=f"processes {', '.join(words[2:12])} cannot be stopped or continued")
    if exit_code in (126, 127) or "no such file" in message.lower():
        return Report(False, why="the image has no /bin/sh, which pausing needs")
    return Report(False, why=f"the script ended with exit code {exit_code}: {message or 'no message'}")
