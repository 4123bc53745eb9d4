"""Deletes all Sandboxes and pools and waits until they are gone: ``python -m sandyard.engine.drain``.

The chart runs it before it is uninstalled, while the operator still works: afterwards nobody
would be left to take the finalizers off.  Finalizers of others keep nobody waiting: they are
told, and what only they hold is let go.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandyard.api import conditions, finalizers, names
from sandyard.api.reasons import Condition
from sandyard.engine.cluster.resources import PODS, POOLS, SANDBOXES, WORKSPACES
from sandyard.kube import config as kube_config
from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.removal import remove
from sandyard.sandbox import teardown

__all__ = ["Outcome", "drain", "main"]

# The rest is for letting go what only others hold.
_SHARE: Final = 0.8
_NAMED: Final = 20
_TRIES: Final = 3
_Found = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What is still there; each as a sentence.

    Attributes
    ----------
    held
        Only finalizers of others hold it, and nothing of ours is left on it.
    left
        Something of it may still run.
    """

    held: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def main() -> None:
    """Exit status 0 when nothing is left, or only what others hold."""
    parser = argparse.ArgumentParser(prog="sandyard.engine.drain", description=__doc__)
    parser.add_argument("--namespace", action="append", default=[], help="only these namespaces (default: all)")
    parser.add_argument("--timeout-seconds", type=float, default=300)
    options = parser.parse_args()
    try:
        outcome = asyncio.run(_run(options.namespace, options.timeout_seconds))
    except (errors.ApiError, errors.TransportError, errors.ConfigError) as error:
        sys.exit(f"drain: {error}")
    for sentence in outcome.held:
        print(f"drain: {sentence}", flush=True)
    if outcome.left:
        told = "; ".join(outcome.left[:_NAMED])
        sys.exit(f"drain: after {options.timeout_seconds:.0f} s these are still there: {told}")


async def _run(namespaces: list[str], timeout_seconds: float) -> Outcome:
    async with Client(kube_config.load()) as client:
        return await drain(client, namespaces, timeout_seconds)


async def drain(
    client: Client, namespaces: list[str], timeout_seconds: float, say: Callable[[str], None] = print
) -> Outcome:
    """Delete everything of ours, in *namespaces* (empty: all); what does not go is told by *say* while it waits."""
    told: dict[str, None] = {}

    def tell(sentence: str) -> None:
        if sentence not in told:
            told[sentence] = None
            say(sentence)

    async def look() -> _Found:
        found = await _everything(client, namespaces)
        for body in found.values():
            for sentence in (_held(body), _stuck(body)):
                if sentence:
                    tell(sentence)
        return {path: body for path, body in found.items() if not _held(body)}

    left = await remove(client, look, timeout_seconds * _SHARE, lambda n: tell(f"{n} Sandboxes and pools left"))
    outcomes = [await _let_go(client, body) for body in left]
    held = [sentence for body in (await _everything(client, namespaces)).values() if (sentence := _held(body))]
    return Outcome(
        tuple(dict.fromkeys([*held, *(sentence for outcome in outcomes for sentence in outcome.held)])),
        tuple(sentence for outcome in outcomes for sentence in outcome.left),
    )


async def _everything(client: Client, namespaces: list[str]) -> _Found:
    """What is there of ours, Sandboxes first, by path."""
    found = {}
    for resource, kind in ((SANDBOXES, names.SANDBOX_KIND), (POOLS, names.POOL_KIND)):
        try:
            for collection in [resource.path(namespace) for namespace in namespaces] or [resource.path()]:
                for item in await client.items(collection):
                    metadata = item["metadata"]
                    found[resource.path(metadata["namespace"], metadata["name"])] = {**item, "kind": kind}
        except errors.ApiError as error:
            if not error.not_found:
                raise
    return found


def _held(body: Mapping[str, Any]) -> str:
    """That only finalizers of others hold an object that is on its way out; empty if that is not so."""
    holds = finalizers.held_by_others(body["metadata"])
    return f"{_name(body)} is gone but for finalizers of others: {', '.join(holds)}" if holds else ""


def _stuck(body: Mapping[str, Any]) -> str:
    """Why the operator gets no further with an object; empty while it does."""
    found = conditions.find((body.get("status") or {}).get("conditions"), Condition.TEARDOWN_STUCK)
    return f"{_name(body)}: {found.get('message', '')}" if found is not None and found.get("status") == "True" else ""


async def _let_go(client: Client, body: Mapping[str, Any]) -> Outcome:
    """Take our finalizer off, where nothing of the object runs any more."""
    remains = await _remains(client, body)
    holds = [teardown.held_by_others(item) for item in remains]
    if not all(holds):
        running = [_name(item) for item, hold in zip(remains, holds, strict=True) if not hold]
        return Outcome(left=(f"{_name(body)}, with {', '.join(running)}",))
    await _release(client, body)
    if not remains:
        return Outcome()
    what = "; ".join(f"{_name(item)} by {', '.join(hold)}" for item, hold in zip(remains, holds, strict=True))
    return Outcome(held=(f"{_name(body)} is let go; finalizers of others hold what has ended: {what}",))


async def _remains(client: Client, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Pods and workspaces of a Sandbox; of a pool, the pods that are nobody's."""
    namespace, uid = body["metadata"]["namespace"], body["metadata"]["uid"]
    kinds = {"Pod": PODS, "PersistentVolumeClaim": WORKSPACES}
    selector = f"{names.LABEL_SANDBOX_UID}={uid}"
    if body["kind"] == names.POOL_KIND:
        kinds, selector = {"Pod": PODS}, f"{names.LABEL_POOL_UID}={uid},!{names.LABEL_SANDBOX_UID}"
    return [
        {**item, "kind": kind}
        for kind, resource in kinds.items()
        for item in await client.items(resource.path(namespace), {"labelSelector": selector})
    ]


async def _release(client: Client, body: Mapping[str, Any]) -> None:
    """Take our finalizer off that very object, and no other one."""
    resource = POOLS if body["kind"] == names.POOL_KIND else SANDBOXES
    metadata = body["metadata"]
    path = resource.path(metadata["namespace"], metadata["name"])
    for _ in range(_TRIES):
        others = [name for name in metadata.get("finalizers") or () if name != names.FINALIZER]
        known = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            await client.merge_patch(path, {"metadata": {**known, "finalizers": others or None}})
        except errors.ApiError as error:
            if error.not_found:
                return
            if not error.conflict:
                raise
            metadata = (await client.get(path))["metadata"]
            if metadata["uid"] != body["metadata"]["uid"]:
                return
        else:
            return


def _name(body: Mapping[str, Any]) -> str:
    return f"{body['kind']} {body['metadata']['namespace']}/{body['metadata']['name']}"


if __name__ == "__main__":
    main()
