"""Reads what the probe left in its termination message.

The message comes from our own init container, which runs before any code of the tenant; it
is parsed as untrusted all the same.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from sandyard.api import untrusted

__all__ = ["Proof", "limits", "parse"]

_MOST_LIMITS = 64


@dataclass(frozen=True)
class Proof:
    """What was seen from inside the sandbox.

    Attributes
    ----------
    runtime
        ``gvisor``, or what else it looks like.
    isolated
        Whether the runtime is gVisor.
    network
        ``Enforced``, ``Open`` or ``Unknown`` (nothing to test against).
    reached
        Forbidden destinations that answered last.
    others
        Processes that were in the pod beside the proof; it looks no further then.
    sockets
        Sockets that were there; the same.
    limits
        Of resources, each soft and hard, where the pod may be restarted for somebody else.
    """

    runtime: str
    isolated: bool
    network: str
    kernel: str = ""
    open_seconds: float = 0.0
    reached: tuple[str, ...] = ()
    others: int = 0
    sockets: int = 0
    limits: tuple[int, ...] = ()

    @property
    def enforced(self) -> bool:
        """Whether the network was closed when the probe ended."""
        return self.network == "Enforced"


@functools.lru_cache(maxsize=4096)
def parse(message: str) -> Proof | None:
    """The proof in *message*; None if it is not one."""
    content = untrusted.fields(message)
    runtime, network = content.get("runtime"), content.get("network")
    version = content.get("version")
    if version is True or version != 1 or not isinstance(runtime, str) or not isinstance(network, str):
        return None
    reached, opened = content.get("reached"), content.get("openSeconds")
    return Proof(
        runtime=runtime[:64],
        isolated=content.get("isolated") is True,
        network=network[:64],
        kernel=str(content.get("kernel", ""))[:256],
        open_seconds=opened if isinstance(opened, float) and 0 <= opened < math.inf else 0.0,
        reached=tuple(str(item)[:128] for item in reached[:16]) if isinstance(reached, list) else (),
        others=_number(content.get("others")),
        sockets=_number(content.get("sockets")),
        limits=limits(content.get("limits")),
    )


def _number(found: object) -> int:
    return found if isinstance(found, int) and 0 <= found < 2**31 else 0


def limits(found: object) -> tuple[int, ...]:
    """Limits of resources in what somebody has written; empty if they are none."""
    if not isinstance(found, list) or len(found) > _MOST_LIMITS:
        return ()
    known = [item for item in found if type(item) is int]
    return tuple(known) if len(known) == len(found) else ()
