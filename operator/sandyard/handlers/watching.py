"""kopf's part of the process: it watches Sandboxes and pools, and ends only when it is asked to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import kopf

from sandyard.engine.intake import Intake
from sandyard.handlers import registry, settings
from sandyard.handlers.session import Session
from sandyard.kube.client import Client

__all__ = ["watch"]


async def watch(
    intake: Intake, client: Client, namespaces: Sequence[str], identity: str, ready: asyncio.Event, stop: asyncio.Event
) -> None:
    """Feed *intake* until *stop* is set.

    Parameters
    ----------
    namespaces
        Which to watch; none: all.
    identity
        Who this is; kopf's own guess asks for the user's name, which an arbitrary user id has not.
    ready
        Set when the watches run.
    """
    await kopf.operator(
        registry=registry.build(intake, Session(client, intake.known)),
        settings=settings.configure(),
        clusterwide=not namespaces,
        namespaces=namespaces,
        standalone=True,
        identity=identity,  # type: ignore[arg-type]
        ready_flag=ready,
        stop_flag=stop,
    )
