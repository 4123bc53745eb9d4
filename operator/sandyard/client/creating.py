"""How a Sandbox is made, found and comes to be Ready: of which pool it is, and when waiting for it is no use.

`AsyncSandbox` is what a program calls; what those calls ask of the cluster before there is a sandbox to use is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

from sandyard.api import names
from sandyard.api.reasons import Phase
from sandyard.client.code import languages
from sandyard.client.errors import (
    InvalidArgument,
    SandboxCreateError,
    SandboxError,
    SandboxExists,
    SandboxExpired,
    SandboxNotFound,
)
from sandyard.client.info import SandboxInfo
from sandyard.client.manifest import check_name
from sandyard.client.session.cluster import POOLS, SANDBOXES, Cluster
from sandyard.client.session.session import NOTICE_SECONDS, Session

__all__ = ["called", "come", "entered", "find", "make", "pool_for", "resume", "starting", "wait_until_ready"]

_log: Final = logging.getLogger("sandyard.client")
# What takes longer is told.
_PATIENCE_SECONDS: Final = 2.0
# The operator says something of a new Sandbox within milliseconds.
_NOTICE_SECONDS: Final = 4.5
# Reasons that end by themselves, when others go or a node comes.
_PASSING: Final = ("Unschedulable", "QuotaExceeded", "MaxSandboxesReached")
_POOL_NOT_FOUND: Final = "PoolNotFound"
_MOST_NAMED: Final = 20
# Of keys and values both: what is in it cannot end it.
_LABEL: Final = re.compile("[A-Za-z0-9./_-]{0,317}")


async def make(
    cluster: Cluster, namespace: str, body: Mapping[str, Any], *, exist_ok: bool = False
) -> tuple[dict[str, Any], bool]:
    """Create the Sandbox, or with *exist_ok* find the one that has its name; and whether it was made."""
    try:
        return await _make(cluster, namespace, body), True
    except SandboxExists:
        if not exist_ok:
            raise
        return await cluster.get(SANDBOXES, namespace, body["metadata"]["name"]), False


async def come(session: Session, wait_seconds: int | None, *, made: bool) -> None:
    """Wait for a Sandbox as its *wait_seconds* say; one that was *made* and does not come is deleted."""
    if not made and not starting(session.info):
        return
    # Whoever says how long to wait for a sandbox also waits for a new leader.
    notice = _NOTICE_SECONDS if wait_seconds is None else wait_seconds + _NOTICE_SECONDS
    try:
        await wait_until_ready(session, notice=notice, patient=wait_seconds is not None)
    except BaseException:
        # Also when we are cancelled: nobody else knows of it.
        if made:
            with contextlib.suppress(SandboxError):
                await asyncio.shield(session.delete())
        raise


async def resume(session: Session) -> None:
    """Let a Sandbox that is paused or suspended go on, and return when it is Ready.

    Raises
    ------
    SandboxExpired
        It is suspended since its time is over.
    SandboxCreateError
        It cannot be started again, or needs somebody's help; it goes on trying.
    SandboxNotReady
        Somebody has asked for something else meanwhile.
    """
    await session.change({"desiredState": "Running"}, used=True)
    tried, pool_is_there = False, False

    def stops(info: SandboxInfo) -> bool:
        nonlocal tried
        failed = info.rests and info.stalled
        # A failure that is there already is one of before.
        tried = tried or not failed
        helpless = _needs_help(info) and not (pool_is_there and info.reason("Stalled") == _POOL_NOT_FOUND)
        return info.wanted != "Running" or info.over or (failed and tried) or helpless

    async with _told(session):
        while not await session.reaches("Ready", None, NOTICE_SECONDS, stops=stops):
            info = session.info
            if trouble := info.trouble():
                raise trouble
            if info.wanted != "Running":
                raise info.not_ready(f"was asked to be {info.wanted} meanwhile")
            if info.over:
                text = f"Sandbox {session.name!r} cannot resume: {info.message('Ready')} (set_timeout)"
                raise SandboxExpired(text, sandbox=session.name, reason=info.reason("Ready"))
            pool_is_there = await _pool_is_there(session)
            if not pool_is_there:
                raise SandboxCreateError(await _why(session), sandbox=session.name, reason=info.reason("Stalled"))


async def find(
    cluster: Cluster | None, namespace: str | None, labels: Mapping[str, str], pool: str | None, phase: str | None
) -> list[SandboxInfo]:  # fmt: skip
    """The Sandboxes with these labels, of that pool, and in that phase."""
    if phase is not None and phase not in list(Phase):
        raise InvalidArgument(f"phase: {phase!r} is none of {', '.join(Phase)}")
    query: dict[str, str] = {}
    check_name("pool", pool)
    for text in (*labels.keys(), *labels.values()):
        if not _LABEL.fullmatch(text):
            raise InvalidArgument(f"labels: {text!r} is in no label: letters, digits, '-', '_', '.', and '/' in a key")
    if labels:
        query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
    if pool is not None:
        query["fieldSelector"] = f"spec.poolRef.name={pool}"
    async with _open(cluster, namespace) as opened:
        found = map(SandboxInfo, await opened.items(SANDBOXES, namespace or opened.namespace, query))
        return [info for info in found if phase in (None, info.phase)]


def starting(info: SandboxInfo) -> bool:
    """Whether a Sandbox is on its way to Ready."""
    return info.phase in ("Pending", "Starting")


async def _make(cluster: Cluster, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Create the Sandbox; whoever is cancelled meanwhile leaves none behind."""
    making = asyncio.create_task(cluster.create(SANDBOXES, namespace, body))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        with contextlib.suppress(SandboxError):
            found = (await making)["metadata"]
            await cluster.delete(SANDBOXES, namespace, found["name"], found["uid"])
        raise


async def wait_until_ready(
    session: Session, *, timeout: float | None = None, notice: float | None = None, patient: bool = True
) -> None:
    """Return when the Sandbox is Ready.

    Parameters
    ----------
    timeout
        Seconds to wait; None: until it is Ready or will never be.
    notice
        Seconds within which the operator must have said something of it.
    patient
        False: a Sandbox that needs somebody's help raises at once.

    Raises
    ------
    SandboxError
        The error that says why it is not.
    """
    async with _told(session):
        stops = None if patient else _needs_help
        while not await session.reaches("Ready", timeout, notice, stops=stops):
            if trouble := session.info.trouble():
                raise trouble
            if not patient and _needs_help(session.info):
                if await _pool_is_there(session):
                    # It was made a moment ago, and the operator will see it.
                    stops = None
                    continue
                raise SandboxCreateError(
                    await _why(session), sandbox=session.name, reason=session.info.reason("Stalled")
                )
            raise session.info.not_ready(f"is not Ready within {timeout} s: {session.info.message('Ready')}")


async def pool_for(cluster: Cluster, namespace: str, language: str) -> str:
    """The pool for a language: the first by name that is Ready, or else the first."""
    known = languages.of(language)
    if known is None:
        raise InvalidArgument(languages.unknown(language))
    name = languages.name_of(known)
    found = await cluster.items(POOLS, namespace, {"labelSelector": f"{names.LABEL_LANGUAGE}={name}"})
    if not found:
        raise SandboxNotFound(
            f"no SandboxPool in namespace {namespace} carries the label {names.LABEL_LANGUAGE}={name}"
        )

    def rank(pool: dict[str, Any]) -> tuple[bool, str]:
        info = SandboxInfo(pool)
        return info.status("Ready") != "True", info.name

    return min(rank(pool) for pool in found)[1]


@contextlib.asynccontextmanager
async def entered(cluster: Cluster | None, namespace: str | None) -> AsyncIterator[tuple[Cluster, bool]]:
    """The given cluster, or one of the sandbox's own, which is closed again if something goes wrong."""
    if cluster is not None:
        yield cluster, False
        return
    opened = Cluster(namespace=namespace)
    await opened.__aenter__()
    try:
        yield opened, True
    except BaseException:
        await opened.__aexit__()
        raise


class HasSession(Protocol):
    """A sandbox in use."""

    _session: Session


@contextlib.asynccontextmanager
async def called(
    sandbox: HasSession | str, namespace: str | None, cluster: Cluster | None
) -> AsyncIterator[Session]:  # fmt: skip
    """The session of *sandbox*, or one of its own for the Sandbox of that name, whatever its phase.

    Raises
    ------
    SandboxNotFound
        No Sandbox has that name.
    """
    if not isinstance(sandbox, str):
        if namespace is not None or cluster is not None:
            raise InvalidArgument("namespace, cluster: for a call by name; a sandbox has its own")
        yield sandbox._session
        return
    async with _open(cluster, namespace) as opened:
        yield Session(opened, await opened.get(SANDBOXES, namespace or opened.namespace, sandbox))


@contextlib.asynccontextmanager
async def _open(cluster: Cluster | None, namespace: str | None) -> AsyncIterator[Cluster]:
    """The given cluster, or one for this call alone."""
    opened = cluster or Cluster(namespace=namespace)
    async with contextlib.AsyncExitStack() as stack:
        if cluster is None:
            await stack.enter_async_context(opened)
        yield opened


def _needs_help(info: SandboxInfo) -> bool:
    return starting(info) and info.stalled and info.reason("Stalled") not in _PASSING


async def _pools(session: Session) -> list[str] | None:
    """Names of the namespace's pools; None for whoever may not list them."""
    try:
        found = await session.cluster.items(POOLS, session.namespace)
    except SandboxError:
        return None
    return sorted(str(pool["metadata"]["name"]) for pool in found)


async def _pool_is_there(session: Session) -> bool:
    wanted = session.info["spec"].get("poolRef", {}).get("name")
    return session.info.reason("Stalled") == _POOL_NOT_FOUND and wanted in (await _pools(session) or ())


async def _why(session: Session) -> str:
    info = session.info
    reason = info.reason("Stalled")
    text = f"Sandbox {session.name!r}: {reason}: {info.message('Stalled') or info.message('Ready')}"
    pools = await _pools(session) if reason == _POOL_NOT_FOUND else None
    if pools is None:
        return text
    named = ", ".join(pools[:_MOST_NAMED]) + (" and more" if len(pools) > _MOST_NAMED else "")
    return f"{text}; {f'pools there are: {named}' if pools else 'there is no pool at all'}"


@contextlib.asynccontextmanager
async def _told(session: Session) -> AsyncIterator[None]:
    """Whoever waits within is told for what."""
    telling = asyncio.create_task(_tell(session))
    try:
        yield
    finally:
        telling.cancel()


async def _tell(session: Session) -> None:
    """Log what is waited for, once it takes long, and each time that it is another thing."""
    told = None
    while True:
        await asyncio.sleep(_PATIENCE_SECONDS)
        info = session.info
        text = (
            f"{info.reason('Ready') or 'Pending'}: {info.message('Ready') or 'the operator has not looked at it yet'}"
        )
        if text != told:
            _log.log(logging.WARNING if info.stalled else logging.INFO, "waiting for %s: %s", session.name, text)
        told = text
