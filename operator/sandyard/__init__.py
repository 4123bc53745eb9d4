"""Sandyard: sandboxes for untrusted code from warm pools of gVisor pods.

``from sandyard import Sandbox, AsyncSandbox, errors`` gives the client.  It is imported only when it is
asked for: ``python -m sandyard.probe`` runs this package in every sandbox before the tenant's
process, so each import here would be paid at every pod start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandyard.client import AsyncSandbox, Cluster, CommandResult, Sandbox, SandboxInfo, by_line, errors

__all__ = ["AsyncSandbox", "Cluster", "CommandResult", "Sandbox", "SandboxInfo", "by_line", "errors"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        from sandyard import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
