"""The kopf handlers: two ``on.event`` that put on a queue, and a login.

Nothing else of kopf is used: no ``on.delete``, timer, daemon or index, no returned values, no
patches.  Each of those would add writes or a finalizer that kopf may drop (its progress
annotations can be forged by whoever may edit the object); teardown hangs on our own finalizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from sandyard.api import names
from sandyard.engine.intake import Intake
from sandyard.handlers.session import Session

__all__ = ["build"]


def build(intake: Intake, session: Session) -> kopf.OperatorRegistry:
    """A registry of its own that feeds *intake* with what *session* reads: no global state, for tests have many."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        # An empty server: paths are completed by the client.
        return kopf.AiohttpSession(server="", aiohttp_session=session)  # type: ignore[arg-type]

    @kopf.on.event(names.GROUP, names.VERSION, names.SANDBOXES, registry=registry)
    async def sandbox_event(event: Mapping[str, Any], **_: Any) -> None:
        intake.sandbox_event(event["type"], event["object"])

    @kopf.on.event(names.GROUP, names.VERSION, names.POOLS, registry=registry)
    async def pool_event(event: Mapping[str, Any], **_: Any) -> None:
        intake.pool_event(event["type"], event["object"])

    return registry
