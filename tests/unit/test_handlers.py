"""The edge to kopf: events go to the engine, and kopf leaves no trace on objects."""

from __future__ import annotations

import json
import logging
from typing import Any

import kopf
import pytest

from sandyard.handlers import logs, registry, session, settings
from sandyard.kube import errors


class Engine:
    """Notes what it is given."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []

    def sandbox_event(self, kind: str, body: Any) -> None:
        self.seen.append(("sandbox", kind, body))

    def pool_event(self, kind: str, body: Any) -> None:
        self.seen.append(("pool", kind, body))


def handlers(engine: Any, client: Any = None) -> kopf.OperatorRegistry:
    return registry.build(engine, client)


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
    own: Any = object()
    (login,) = registry.build(Engine(), own)._activities.get_all_handlers()  # type: ignore[arg-type]
    info = await login.fn()
    assert info.aiohttp_session is own
    assert info.server == ""


def test_a_log_line_is_one_json_object_whatever_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("kopf", "aiohttp")}
    try:
        logs.configure("INFO")
        logging.getLogger("sandyard.x").info("two\nlines \x1b[2J", extra={"pod": "p", "at": {1}})
        logging.getLogger("sandyard.x").debug("not at this level")
        logging.getLogger("kopf.objects").info("each event")
        try:
            raise ValueError("what\nhappened")
        except ValueError:
            logging.getLogger("sandyard.x").exception("failed")
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
        for name, known in levels.items():
            logging.getLogger(name).setLevel(known)
    lines = capsys.readouterr().err.splitlines()
    first, second = [json.loads(line) for line in lines]
    assert (first["message"], first["pod"], first["at"], first["level"]) == ("two\nlines \x1b[2J", "p", "{1}", "info")
    assert "what\nhappened" in second["exception"]
    assert not any(ord(character) < 32 for line in lines for character in line)


@pytest.mark.parametrize(
    ("code", "message", "resumed"),
    [
        (429, "too many requests", True),
        (503, "etcd is away", True),
        (504, "Too large resource version: 1000, current: 3", False),
        (410, "too old resource version", False),
        (403, "no", False),
    ],
)
def test_kopf_lists_again_where_its_stream_cannot_be_taken_up(code: int, message: str, resumed: bool) -> None:
    """A version from the future, after etcd was restored from a backup, would be asked for without end."""
    assert session._can_be_resumed(errors.ApiError(code, {"message": message})) is resumed
