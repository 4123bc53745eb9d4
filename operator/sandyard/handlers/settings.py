"""kopf's settings: quiet, quick to retry, no traces of its own on objects."""

from __future__ import annotations

from typing import Any

import kopf

from sandyard.api import names

__all__ = ["configure"]


class _NoDifferences(kopf.DiffBaseStorage):
    """What an object was before is nothing that our handlers ask for: kopf copies it at each event otherwise."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


def configure() -> kopf.OperatorSettings:
    """Settings for `kopf.operator`; the figures come from measurements on a 2-core node."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    # Never below the number of objects: a limit can deadlock (kopf#1243).
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 1.0
    settings.queueing.error_delays = (0.1, 0.2, 0.5, 1, 2, 5, 10)
    # As in `sandyard.kube.informer`: a stream that the server does not end in time is dead.
    settings.watching.server_timeout = 12
    settings.watching.inactivity_timeout = 16
    settings.watching.connect_timeout = 5
    settings.watching.reconnect_backoff = 0.05
    # Unchunked, a list of 10,000 objects costs hundreds of MiB that are never given back.
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 10
    settings.networking.error_backoffs = (0.05, 0.1, 0.2, 0.5, 1, 2, 5)
    settings.persistence.finalizer = f"{names.PREFIX}kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP, v1=False)
    settings.persistence.diffbase_storage = _NoDifferences()
    settings.process.ultimate_exiting_timeout = 30
    return settings
