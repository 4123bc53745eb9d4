"""``/healthz``, ``/readyz`` and ``/metrics``, on a port of their own."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import exposition

from sandyard.engine.process.metrics import Metrics

__all__ = ["serve"]


async def serve(
    port: int, metrics: Metrics, *, alive: Callable[[], str], ready: Callable[[], str], collect: Callable[[], None]
) -> web.AppRunner:
    """Start the server.

    Parameters
    ----------
    alive, ready
        Return what is wrong, or an empty string.
    collect
        Brings gauges up to date before they are read.
    """

    async def healthz(_request: web.Request) -> web.Response:
        problem = alive()
        return web.Response(text=problem or "ok", status=500 if problem else 200)

    async def readyz(_request: web.Request) -> web.Response:
        problem = ready()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def show_metrics(request: web.Request) -> web.Response:
        collect()
        # OpenMetrics for whoever asks for it, as Prometheus does.
        encode, kind = exposition.choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": kind})

    application = web.Application()
    application.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", show_metrics)]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    # All addresses, IPv6 too: the kubelet probes the pod's own.
    await web.TCPSite(runner, None, port).start()
    return runner
