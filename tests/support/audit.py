"""The API server's own account of who asked for what."""

from __future__ import annotations

import json
import pathlib
import time
from dataclasses import dataclass
from typing import Any

from sandyard.api import model

__all__ = ["Audit", "Call"]


@dataclass(frozen=True)
class Call:
    """One finished request."""

    verb: str
    resource: str
    name: str
    code: int
    started: str
    ended: str

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.verb in ("create", "update", "patch", "delete")


class Audit:
    """What *user* has asked for since this was made."""

    def __init__(self, log: pathlib.Path, user: str) -> None:
        self._log = log
        self._user = user
        self._start = log.stat().st_size if log.exists() else 0

    def events(self) -> list[dict[str, Any]]:
        """All events since the start, whoever caused them."""
        with self._log.open("rb") as file:
            file.seek(self._start)
            lines = file.read().splitlines()
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return found

    def calls(self, user: str | None = None) -> list[Call]:
        """Finished requests of the user, watches left out."""
        return [
            self._call(event)
            for event in self.events()
            if event["user"]["username"] == (user or self._user) and event["verb"] != "watch"
        ]

    def posted(self, resource: str, name: str) -> Call | None:
        """The request that created an object, whoever sent it."""
        for event in self.events():
            call = self._call(event)
            if call.verb == "create" and call.resource == resource and call.name == name and call.code == 201:
                return call
        return None

    def quiet_for(self, seconds: float) -> bool:
        """Whether the user's last write was answered so long ago, or none has been."""
        ended = [model.seconds(call.ended) for call in self.calls() if call.writes]
        return time.time() - max(ended, default=0.0) > seconds

    @staticmethod
    def _call(event: dict[str, Any]) -> Call:
        target = event.get("objectRef") or {}
        resource = "/".join(part for part in (target.get("resource", ""), target.get("subresource")) if part)
        return Call(
            verb=event["verb"],
            resource=resource,
            name=target.get("name", ""),
            code=event["responseStatus"]["code"],
            started=event["requestReceivedTimestamp"],
            ended=event["stageTimestamp"],
        )
