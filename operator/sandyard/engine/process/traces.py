"""Claims as OpenTelemetry traces, for whoever sets an endpoint; the SDK is loaded only then.

The variables are OpenTelemetry's own: ``OTEL_EXPORTER_OTLP_ENDPOINT`` turns traces on, and the others that its
documentation has for headers, sampling and limits hold as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from sandyard import __version__
from sandyard.engine.process.settings import SettingsError

__all__ = ["Traces"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_NANO = 1_000_000_000


class Traces:
    """Sends spans in the background; made without a provider it sends none. Use it as a context manager."""

    def __init__(self, provider: Any = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("sandyard", __version__) if provider is not None else None

    @classmethod
    def configured(cls, environment: Mapping[str, str]) -> Self:
        """As *environment* says.

        Raises
        ------
        SettingsError
            There is an endpoint, and no SDK.
        """
        if not any(environment.get(name) for name in _ENDPOINTS):
            return cls()
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise SettingsError(f"{_ENDPOINTS[1]} needs the OpenTelemetry SDK: install sandyard[tracing]") from error
        named = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": "sandyard-operator"}
        provider = TracerProvider(resource=Resource.create({**named, "service.version": __version__}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._provider is not None:
            # It sends what it still has, to a collector that may be slow.
            await asyncio.to_thread(self._provider.shutdown)

    def claim(
        self, now: float, attributes: Mapping[str, str], stages: Sequence[tuple[str, float]]
    ) -> dict[str, str] | None:  # fmt: skip
        """Tell of a claim that has come to its end.

        Parameters
        ----------
        now
            Wall time of its end, in seconds since the epoch.
        attributes
            Whose it was.
        stages
            What it went through, each with its seconds, in their order.

        Returns
        -------
        dict or None
            The labels of an exemplar; None: nothing is told of this one.
        """
        if self._tracer is None:
            return None
        from opentelemetry import trace

        at = now - sum(seconds for _, seconds in stages)
        root = self._tracer.start_span("claim", start_time=int(at * _NANO), attributes=dict(attributes))
        within = trace.set_span_in_context(root)
        for stage, seconds in stages:
            span = self._tracer.start_span(stage, context=within, start_time=int(at * _NANO))
            at += seconds
            span.end(int(at * _NANO))
        root.end(int(now * _NANO))
        context = root.get_span_context()
        return {"trace_id": f"{context.trace_id:032x}"} if context.trace_flags.sampled else None
