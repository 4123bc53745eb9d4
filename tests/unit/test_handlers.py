"""The edge to kopf: events go to the engine, and kopf leaves no trace on objects."""

from __future__ import annotations

from typing import Any

import kopf

from sandyard.handlers import registry, settings


class Engine:
    """Notes what it is given."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []

    def sandbox_event(self, kind: str, body: Any) -> None:
        self.seen.append(("sandbox", kind, body))

    def pool_event(self, kind: str, body: Any) -> None:
        self.seen.append(("pool", kind, body))


def handlers(engine: Any, session: Any = None) -> kopf.OperatorRegistry:
    return registry.build(engine, session)


async def test_each_event_goes_to_the_engine_as_it_came() -> None:
    engine = Engine()
    for handler in handlers(engine)._watching.get_all_handlers():
        assert (handler.selector.group, handler.selector.version) == ("sandyard.dev", "v1alpha1")
        await handler.fn(event={"type": "DELETED", "object": {"of": handler.selector.any_name}})
    assert engine.seen == [("sandbox", "DELETED", {"of": "sandboxes"}), ("pool", "DELETED", {"of": "sandboxpools"})]


def test_kopf_has_nothing_to_write_with() -> None:
    """No handler that would put kopf's finalizer or its annotations on an object."""
    made = handlers(Engine())
    for part in (made._changing, made._spawning, made._indexing, made._webhooks):
        assert part.get_all_handlers() == []
    assert settings.configure().posting.enabled is False


def test_kopf_serves_alone_and_bounds_no_number_of_objects() -> None:
    made = settings.configure()
    assert made.peering.standalone
    assert made.scanning.disabled
    assert made.queueing.worker_limit is None
    # A dead stream is noticed within 20 s: one that the server does not end in time.
    assert (made.watching.server_timeout or 0) < (made.watching.inactivity_timeout or 0) < 20


async def test_kopf_reads_through_the_session_of_the_operator() -> None:
    """With the credentials of the operator's client, which renews its token by itself."""
    session: Any = object()
    (login,) = registry.build(Engine(), session)._activities.get_all_handlers()  # type: ignore[arg-type]
    info = await login.fn()
    assert info.aiohttp_session is session
    assert info.server == ""
