"""The write of a claim: one PATCH, and what its outcome means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sandyard.api.objects import Pod
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.state.records import SandboxRecord
from sandyard.kube import errors

__all__ = ["Outcome", "Written", "write"]


class Outcome(StrEnum):
    """What became of the write."""

    WRITTEN = "written"
    """The pod is the Sandbox's."""
    CHANGED = "changed"
    """The pod has changed since it was seen, or is gone (409, 404): another one may do."""
    DENIED = "denied"
    """This pod may not be written for this Sandbox (400, 403, 413, 422): another one may be."""
    REFUSED = "refused"
    """Nothing was written, and another pod would fare no better."""
    UNKNOWN = "unknown"
    """It may or may not have taken place: somebody has to look."""


@dataclass(frozen=True)
class Written:
    """The outcome, and the error behind it."""

    outcome: Outcome
    error: Exception | None = None


async def write(pods: Pods, pod: Pod, sandbox: SandboxRecord, labels: Mapping[str, str], terms: str) -> Written:
    """Make *pod* the Sandbox's; errors of the connection and the API server are outcomes."""
    try:
        await pods.claim(pod, sandbox, labels, terms)
    except errors.ApiError as error:
        if error.conflict or error.not_found:
            return Written(Outcome.CHANGED, error)
        if error.refused:
            return Written(Outcome.DENIED, error)
        return Written(Outcome.UNKNOWN if error.unsure else Outcome.REFUSED, error)
    except errors.NotConnected as error:
        return Written(Outcome.REFUSED, error)
    except errors.TransportError as error:
        return Written(Outcome.UNKNOWN, error)
    return Written(Outcome.WRITTEN)
