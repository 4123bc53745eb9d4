"""The operator's process: ``python -m sandyard.handlers``."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import signal
import sys

import uvloop

from sandyard.engine import compose
from sandyard.engine.engine import Engine
from sandyard.engine.process import settings as engine_settings
from sandyard.handlers import logs
from sandyard.kube import config as kube_config
from sandyard.kube import errors
from sandyard.kube.client import Client

__all__ = ["main", "run"]

_log = logging.getLogger(__name__)
_DRAIN_SECONDS = 5.0


def main() -> None:
    """Run until SIGTERM or SIGINT; exit status 1 when a part of it ended by itself."""
    try:
        settings = engine_settings.load()
        config = kube_config.load()
    except (engine_settings.SettingsError, errors.ConfigError) as error:
        sys.exit(f"sandyard: {error}")
    logs.configure(settings.log_level)
    engine = compose.engine(config, settings, lease_lost=_end_process)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if not runner.run(run(engine, config)):
            _end_process()


def _end_process() -> None:
    """End now: there is nothing to finish, and whatever hangs must not keep a restart waiting.

    A leader that lost its lease has been replaced; a part that ended by itself is put right by
    a new process, which learns everything from the cluster.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


async def run(engine: Engine, config: kube_config.ClusterConfig, stop: asyncio.Event | None = None) -> bool:
    """Run *engine* with kopf in front of it.

    Returns
    -------
    bool
        True when it was asked to stop; False when a part of it ended by itself.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    _catch_signals(loop, stop)
    ready, watched = asyncio.Event(), asyncio.Event()
    # kopf cancels every task that is younger than itself when it ends: the engine goes first.
    working = asyncio.create_task(engine.run(ready), name="engine")
    waiting = asyncio.create_task(_first(ready, stop), name="waiting")
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if working.done() or stop.is_set():
        return await _end(engine, working, None, stop)
    watch_stop = asyncio.Event()
    watcher = asyncio.create_task(_watch(engine, config, watched, watch_stop), name="kopf")
    started = asyncio.create_task(watched.wait(), name="started")
    await asyncio.wait({working, watcher, started}, return_when=asyncio.FIRST_COMPLETED)
    # kopf has taken the signals by now; we stop in our own order.
    _catch_signals(loop, stop)
    gc.collect()
    gc.freeze()
    stopping = asyncio.create_task(stop.wait(), name="stopping")
    await asyncio.wait({working, watcher, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (started, stopping):
        task.cancel()
    clean = await _end(engine, working, watcher, stop)
    watch_stop.set()
    await asyncio.wait({watcher}, timeout=10)
    return clean


async def _watch(engine: Engine, config: kube_config.ClusterConfig, ready: asyncio.Event, stop: asyncio.Event) -> None:
    settings = engine.settings
    # kopf takes a third of the process's start; what waits for this process does not wait for that.
    watching = await asyncio.to_thread(importlib.import_module, "sandyard.handlers.watching")
    async with Client(config, user_agent="sandyard-operator-watch") as client:
        await watching.watch(engine.intake, client, settings.namespaces, settings.identity, ready, stop)


async def _end(
    engine: Engine, working: asyncio.Task[None], watcher: asyncio.Task[None] | None, stop: asyncio.Event
) -> bool:
    clean = stop.is_set() and not working.done()
    for task in (working, watcher):
        if task is not None and task.done() and not task.cancelled() and task.exception() is not None:
            _log.error("ended by itself", extra={"part": task.get_name(), "error": repr(task.exception())},
                       exc_info=task.exception())  # fmt: skip
    if clean:
        # What has begun is finished; nothing new is begun.
        for queue in engine.queues.all:
            queue.active = False
        deadline = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        while not all(queue.idle for queue in engine.queues.all) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        _log.info("stopping")
    working.cancel()
    await asyncio.wait({working}, timeout=10)
    return clean


async def _first(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _catch_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
        except (ValueError, RuntimeError):
            # Not the main thread: a test's business.
            return
