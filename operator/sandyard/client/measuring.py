"""Asks a sandbox what it uses, and what it is."""

from __future__ import annotations

from sandyard.client import metrics
from sandyard.client.errors import checked
from sandyard.client.exec import runner, script
from sandyard.client.exec.command import Command
from sandyard.client.session.cluster import POD_METRICS
from sandyard.client.session.session import Session
from sandyard.kube import errors

__all__ = ["look_around", "measure"]


async def measure(session: Session) -> metrics.Metrics:
    """What the sandbox uses now: by the metrics API, or else as it says itself."""
    inside = metrics.parse_usage(await _look(session, "usage", "1"))
    try:
        body = await session.cluster.client.get(POD_METRICS.path(session.namespace, session.pod_name))
    except (errors.ApiError, errors.TransportError):
        return inside
    return metrics.parse_pod_metrics(body, inside)


async def look_around(session: Session) -> metrics.Environment:
    """What is inside the sandbox, as it says itself."""
    return metrics.parse_environment(await _look(session, "environment"))


async def _look(session: Session, part: str, *words: str) -> str:
    """What one of the client's scripts prints inside."""
    command = Command(["/bin/sh", "-c", script.text(part), f"sandyard-{part}", *words], env={"LC_ALL": "C"})
    return checked(await runner.run(session, command), session.name).stdout_text
