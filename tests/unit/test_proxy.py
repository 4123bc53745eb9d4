"""The way to the API server leads through a proxy where kubectl's does."""

from __future__ import annotations

import json
import pathlib

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandyard.kube import config, errors
from sandyard.kube.client import Client


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def write(folder: pathlib.Path, server: str, proxy: str | None = None) -> str:
    cluster = {"server": server, **({"proxy-url": proxy} if proxy else {})}
    contexts = [{"name": name, "context": {"cluster": "c", "user": "u", "namespace": name}} for name in ("x", "y")]
    body = {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "c", "cluster": cluster}], "contexts": contexts,
            "users": [{"name": "u", "user": {}}], "current-context": "x"}  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(body))
    return str(folder / "kubeconfig")


@pytest.mark.parametrize(
    ("server", "own", "environment", "expected"),
    [
        ("https://api.example", "http://p:1", {}, "http://p:1"),
        ("https://api.example", "http://p:1", {"HTTPS_PROXY": "http://q:2"}, "http://p:1"),
        ("https://api.example", None, {"HTTPS_PROXY": "http://q:2"}, "http://q:2"),
        ("https://api.example", None, {"https_proxy": "http://q:2"}, "http://q:2"),
        ("https://api.example", None, {"HTTP_PROXY": "http://q:2"}, None),
        ("http://api.example", None, {"http_proxy": "http://q:2"}, "http://q:2"),
        ("https://api.example", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": ".example"}, None),
        ("https://127.0.0.1:6443", None, {"HTTPS_PROXY": "http://q:2"}, None),
        ("https://[::1]:6443", None, {"HTTPS_PROXY": "http://q:2"}, None),
        ("https://localhost", None, {"HTTPS_PROXY": "http://q:2"}, None),
        ("https://localhost", "http://p:1", {}, "http://p:1"),
        ("https://api.example", None, {}, None),
        ("https://api.example", None, {"HTTPS_PROXY": "q:2"}, "http://q:2"),
        ("https://api.example", "p:1", {}, "http://p:1"),
        ("https://10.96.0.1", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "192.168.0.0/16, 10.0.0.0/8"}, None),
        ("https://11.96.0.1", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "10.0.0.0/8,x"}, "http://q:2"),
        ("https://[fd00::1]:6443", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "fd00::/8"}, None),
        ("https://[fd00::1]:6443", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "[fd00::1]:6443"}, None),
        ("https://[fd00::1]:6443", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "fd00::1"}, None),
        ("https://10.96.0.1:6443", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "10.96.0.1:443"}, "http://q:2"),
        ("https://a.b.example:6443", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "*.b.example"}, None),
        ("https://b.example", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "*.b.example,.b.example"}, "http://q:2"),
        ("https://ab.example", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "b.example"}, "http://q:2"),
        ("https://a.b.example", None, {"HTTPS_PROXY": "http://q:2", "no_proxy": "B.Example"}, None),
        ("https://api.example", None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "*"}, None),
    ],
)
def test_the_proxy_is_the_kubeconfigs_or_the_environments(
    server: str, own: str | None, environment: dict[str, str], expected: str | None, tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert config.load(write(tmp_path, server, own)).proxy == expected


def test_a_proxy_of_another_kind_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.ConfigError, match="only http"):
        config.load(write(tmp_path, "https://api.example", "socks5://p:1"))


def test_a_context_has_its_own_namespace_and_one_that_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path, "https://api.example")
    assert (config.load(file).namespace, config.load(file, "y").namespace) == ("x", "y")
    for wrong in ((file, "nowhere"), (f"{file}-gone", None)):
        with pytest.raises(errors.ConfigError):
            config.load(*wrong)


async def test_requests_watches_and_execs_go_through_it() -> None:
    seen: list[str] = []

    async def proxy(request: web.Request) -> web.StreamResponse:
        seen.append(str(request.url))
        if request.headers.get("Upgrade"):
            socket = web.WebSocketResponse(protocols=("p",))
            await socket.prepare(request)
            await socket.close()
            return socket
        return web.json_response({"items": []})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", proxy)
    async with TestServer(application) as server:
        way = str(server.make_url("")).rstrip("/")
        async with Client(config.ClusterConfig("http://api.example", proxy=way)) as client:
            await client.get("/version")
            async for _ in client.watch("/api/v1/pods", {}, inactivity_seconds=5):
                pass
            async with client.websocket("/exec", [], "p"):
                pass
    assert len(seen) == 3
