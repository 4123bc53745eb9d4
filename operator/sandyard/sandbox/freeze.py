"""Stops and continues every process of a sandbox, from inside and as its own user.

The script needs nothing of the image but ``/bin/sh`` and ``/proc``.  It signals, then *looks*:
a process that forks while it is being stopped is found in the next round, and what cannot be
stopped is reported rather than believed.  One that waits within the kernel (state D) runs nothing
either, and stops before it would: that is where a parent stays whose child was stopped between
vfork and exec.  It counts when two looks find the same ones there, as each was signalled in
between.  Process 1 is the pause container, which is not the
sandbox's; the script itself is spared, being the one who looks, and so is what runs as another
user: that is the operator's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sandyard.api import names, untrusted

__all__ = ["COMMAND", "Report", "read", "script"]

COMMAND: Final = ("/bin/sh", "-s")
_ROUNDS: Final = 100
_MOST_OCTETS: Final = 4096

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
    uid=
    while read -r key uid rest; do [ "$key" = Uid: ] && break; done 2>/dev/null <"$folder/status"
    [ "$uid" = {ours} ] && continue
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
    return _SCRIPT.format(signal=signal, wanted=wanted, rounds=_ROUNDS, ours=names.GUARD_UID).encode()


def read(exit_code: int | None, stdout: bytes, message: str, *, stopped: bool) -> Report:
    """Understand what the script has said; an answer that is not just the one that it gives is none.

    A process of the sandbox may forge it all the same: pausing is for whoever wants to pause.
    """
    text = stdout[:_MOST_OCTETS].decode(errors="replace")
    words = text.removesuffix("\n").split(" ") if text.startswith("sandyard: ") else []
    wanted = "stopped" if stopped else "running"
    count = untrusted.whole_number(words[2]) if len(words) == 3 and words[1] == wanted else None
    # The main process is there at least; what has none cannot be paused.
    if exit_code == 0 and count is not None and text.endswith("\n") and (count or not stopped):
        return Report(True, count)
    if len(words) > 2 and words[1] == "left":
        named = [word[:10] for word in words[2:12] if untrusted.whole_number(word.removesuffix("\n")) is not None]
        return Report(False, why=f"processes {', '.join(named) or 'of it'} cannot be stopped or continued")
    if exit_code in (126, 127) or "no such file" in message.lower():
        return Report(False, why="the image has no /bin/sh, which pausing needs")
    return Report(False, why=f"the script ended with exit code {exit_code}: {message[:300] or 'no message'}")
