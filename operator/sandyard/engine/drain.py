"""Deletes all Sandboxes and pools and waits until they are gone: ``python -m sandyard.engine.drain``.

The chart runs it before it is uninstalled, while the operator still works: afterwards nobody
would be left to take the finalizers off.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

from sandyard.engine.gateway import POOLS, SANDBOXES
from sandyard.kube import config as kube_config
from sandyard.kube import errors
from sandyard.kube.client import Client, Resource

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
    deadline = time.monotonic() + timeout_seconds
    told = -1
    while True:
        left = []
        for resource in (SANDBOXES, POOLS):
            for item in await _list(client, resource, namespaces):
                metadata = item["metadata"]
                left.append(f"{item['kind']} {metadata['namespace']}/{metadata['name']}")
                if "deletionTimestamp" not in metadata:
                    await _delete(client, resource.path(metadata["namespace"], metadata["name"]), metadata["uid"])
        if len(left) != told:
            print(f"{len(left)} Sandboxes and pools left", flush=True)
            told = len(left)
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.5)


async def _list(client: Client, resource: Resource, namespaces: list[str]) -> list[dict[str, Any]]:
    kind = "Sandbox" if resource is SANDBOXES else "SandboxPool"
    found = []
    try:
        for path in [resource.path(namespace) for namespace in namespaces] or [resource.path()]:
            found += [{"kind": kind, **item} for item in await client.items(path)]
    except errors.ApiError as error:
        if not error.not_found:
            raise
    return found


async def _delete(client: Client, path: str, uid: str) -> None:
    try:
        await client.delete(path, uid=uid)
    except errors.ApiError as error:
        if not (error.not_found or error.conflict):
            raise


if __name__ == "__main__":
    main()
