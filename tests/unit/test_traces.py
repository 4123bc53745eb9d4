"""Claims as traces: what a collector gets, and nothing where there is none."""

from __future__ import annotations

import builtins
import gzip
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.openmetrics.exposition import generate_latest

from sandyard.engine.process.metrics import Metrics
from sandyard.engine.process.settings import SettingsError
from sandyard.engine.process.traces import Traces

NOW = 1_800_000_000.0
STAGES = [("queue", 0.5), ("pod", 0.25), ("status", 0.125)]


class Collector:
    """Takes what is sent to it by OTLP over HTTP."""

    def __init__(self, status: int = 200) -> None:
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                zipped = self.headers.get("Content-Encoding") == "gzip"
                outer.bodies.append(gzip.decompress(body) if zipped else body)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def resource(self) -> dict[str, str]:
        (group,) = self._requests()[0].resource_spans
        return {item.key: item.value.string_value for item in group.resource.attributes}

    @property
    def spans(self) -> list[Any]:
        return [span for request in self._requests() for group in request.resource_spans
                for scope in group.scope_spans for span in scope.spans]  # fmt: skip

    def _requests(self) -> list[Any]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.endpoint)
    yield made
    made.close()


async def test_a_claim_is_a_span_with_its_stages_one_after_the_other(collector: Collector) -> None:
    async with Traces.configured({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}) as traces:
        exemplar = traces.claim(NOW, {"sandyard.sandbox": "s"}, STAGES)
    by_name = {span.name: span for span in collector.spans}
    root = by_name["claim"]
    assert root.end_time_unix_nano - root.start_time_unix_nano == pytest.approx(0.875e9, abs=1000)
    assert {item.key: item.value.string_value for item in root.attributes} == {"sandyard.sandbox": "s"}
    at = root.start_time_unix_nano
    for name, seconds in STAGES:
        span = by_name[name]
        assert (span.parent_span_id, span.trace_id) == (root.span_id, root.trace_id)
        assert span.start_time_unix_nano == pytest.approx(at, abs=1000)
        at = span.end_time_unix_nano
        assert at - span.start_time_unix_nano == pytest.approx(seconds * 1e9, abs=1000)
    assert exemplar == {"trace_id": root.trace_id.hex()}
    assert collector.resource["service.name"] == "sandyard-operator"


async def test_without_an_endpoint_nothing_is_loaded_and_nothing_told() -> None:
    async with Traces.configured({}) as traces:
        assert traces.claim(NOW, {}, STAGES) is None


async def test_what_is_not_sampled_is_no_exemplar(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    async with Traces.configured({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}) as traces:
        assert traces.claim(NOW, {}, STAGES) is None
    assert collector.bodies == []


async def test_a_collector_that_refuses_costs_nothing_but_its_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Collector(status=400)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.endpoint)
    try:
        async with Traces.configured({"OTEL_EXPORTER_OTLP_ENDPOINT": made.endpoint}) as traces:
            assert traces.claim(NOW, {}, STAGES) is not None
    finally:
        made.close()


def test_an_endpoint_without_the_sdk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match=r"install sandyard\[tracing\]"):
        Traces.configured({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})


def test_a_histogram_of_claims_leads_to_a_trace() -> None:
    metrics = Metrics()
    metrics.observe_claim("Warm", 0.875, STAGES, {"trace_id": "ab" * 16})
    text = generate_latest(metrics.registry).decode()
    assert text.count(f'# {{trace_id="{"ab" * 16}"}}') == 1 + len(STAGES)


def test_the_sdk_is_loaded_by_nothing_else() -> None:
    found = [name for name, module in sys.modules.items() if name.startswith("sandyard.") and "opentelemetry" in
             vars(module)]  # fmt: skip
    assert found == []
