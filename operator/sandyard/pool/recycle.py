"""Whether a used pod may be handed out again, what is run in it before, and what is believed of the answer.

The default answer is no: everything that is not as the pool's template has it, or not seen to
be clean, means that the pod is deleted.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import Final

from sandyard import scrub
from sandyard.api import model, names, untrusted
from sandyard.api.objects import Pod
from sandyard.api.pool import PoolSpec
from sandyard.pod import observe
from sandyard.podspec import network
from sandyard.podspec.network import Reach

__all__ = ["COMMANDS", "Report", "obstacle", "read", "script", "uses"]

# Absolute: a template's PATH may name places that a tenant can write to.
COMMANDS: Final = (
    ("/usr/local/bin/python3", "-I", "-S", "-"),
    ("/usr/bin/python3", "-I", "-S", "-"),
)


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes
    ----------
    clean
        Whether everything was cleaned and looked at, and nothing is left.
    why
        What is left, or what kept it from looking.
    leftovers
        Number of things that are left.
    """

    clean: bool
    why: str = ""
    leftovers: int = 0


def uses(pod: Pod) -> int:
    """How often *pod* has been handed out, this time included."""
    before = untrusted.whole_number(pod.metadata.annotations.get(names.ANNOTATION_USES, "0"))
    return (10**6 if before is None else before) + 1


def obstacle(pod: Pod, was_ready: bool, pool: PoolSpec, template_hash: str) -> str:
    """Why *pod*, whose Sandbox was Ready or not, is not to be used again; empty if it may be cleaned."""
    if pool.recycle != "Scrub":
        return "the pool does not recycle"
    if pod.metadata.labels.get(names.LABEL_STATE) != names.STATE_CLAIMED:
        return "it was started for its Sandbox alone"
    if pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) != template_hash:
        return "its template has changed"
    wanted = network.labels(Reach(pool.template.network, pool.template.dns))
    labels = pod.metadata.labels
    if any(labels.get(key) != wanted.get(key) for key in (names.LABEL_EGRESS, names.LABEL_ALLOW, names.LABEL_INGRESS)):
        return "its network was widened, and cannot be proven closed in time"
    if uses(pod) >= pool.scrub.max_uses:
        return f"it was handed out {uses(pod)} times (scrub.maxUses)"
    if not was_ready or pod.metadata.deletion_timestamp is not None or not observe.is_ready(pod):
        return "it is not ready"
    if _since(pod) is None or any(item.restart_count for item in pod.status.container_statuses):
        return "its main process has ended"
    return ""


def script(pod: Pod) -> bytes:
    """What is sent to the standard input of one of `COMMANDS`."""
    return f"{_program()}\nsys.exit(main({_since(pod)!r}))\n".encode()


def read(exit_code: int | None, stdout: bytes, message: str) -> Report:
    """Understand the answer; nothing is clean unless it says so in every way."""
    lines = stdout.decode(errors="replace").splitlines()
    last = lines[-1] if lines else ""
    content = untrusted.fields(last.removeprefix(scrub.MARK)) if last.startswith(scrub.MARK) else {}
    left = content.get("left")
    if not isinstance(left, list):
        return Report(False, f"cleaning ended with exit code {exit_code}: {message[:300] or 'no message'}")
    if left:
        return Report(False, f"left behind: {', '.join(map(str, left))[:500]}", len(left))
    if exit_code != 0:
        return Report(False, f"cleaning ended with exit code {exit_code}")
    return Report(True)


@functools.cache
def _program() -> str:
    return inspect.getsource(scrub).rpartition('if __name__ == "__main__":')[0]


def _since(pod: Pod) -> float | None:
    for status in pod.status.container_statuses:
        running = status.state.running
        if status.name == names.CONTAINER and running is not None and running.started_at:
            return model.moment(running.started_at)
    return None
