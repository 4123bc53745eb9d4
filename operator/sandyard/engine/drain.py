"""Deletes all Sandboxes and pools and waits until they are gone: ``python -m sandyard.engine.drain``.

The chart runs it before it is uninstalled, while the operator still works: afterwards nobody
would be left to take the finalizers off.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from sandyard.api import names
from sandyard.engine.cluster.resources import POOLS, SANDBOXES
from sandyard.kube import config as kube_config
from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.removal import remove

__all__ = ["drain", "main"]


def main() -> None:
    """Exit status 0 when nothing is left."""
    parser = argparse.ArgumentParser(prog="sandyard.engine.drain", description=__doc__)
    parser.add_argument("--namespace", action="append", default=[], help="only these namespaces (default: all)")
    parser.add_argument("--timeout-seconds", type=float, default=300)
    options = parser.parse_args()
    try:
        left = asyncio.run(_run(options.namespace, options.timeout_seconds))
    except (errors.ApiError, errors.TransportError, errors.ConfigError) as error:
        sys.exit(f"drain: {error}")
    if left:
        sys.exit(f"drain: after {options.timeout_seconds:.0f} s these are still there: {', '.join(left[:20])}")


async def _run(namespaces: list[str], timeout_seconds: float) -> list[str]:
    async with Client(kube_config.load()) as client:
        return await drain(client, namespaces, timeout_seconds)


async def drain(client: Client, namespaces: list[str], timeout_seconds: float) -> list[str]:
    """Delete everything of ours; returns what is left when time is up."""
    printed = -1

    def progress(left: int) -> None:
        nonlocal printed
        if left != printed:
            print(f"{left} Sandboxes and pools left", flush=True)
            printed = left

    left = await remove(client, lambda: _everything(client, namespaces), timeout_seconds, progress)
    return [f"{body['kind']} {body['metadata']['namespace']}/{body['metadata']['name']}" for body in left]


async def _everything(client: Client, namespaces: list[str]) -> dict[str, dict[str, Any]]:
    """What is there of ours, Sandboxes first, by path."""
    found = {}
    for resource, kind in ((SANDBOXES, names.SANDBOX_KIND), (POOLS, names.POOL_KIND)):
        try:
            for collection in [resource.path(namespace) for namespace in namespaces] or [resource.path()]:
                for item in await client.items(collection):
                    metadata = item["metadata"]
                    found[resource.path(metadata["namespace"], metadata["name"])] = {"kind": kind, **item}
        except errors.ApiError as error:
            if not error.not_found:
                raise
    return found


if __name__ == "__main__":
    main()
