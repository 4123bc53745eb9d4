"""The API server over kept connections: what tests look at many times costs no kubectl each time.

A kubectl takes a tenth of a second of CPU before it sends anything, and a test waits by looking again.
"""

from __future__ import annotations

import atexit
import base64
import functools
import http.client
import json
import pathlib
import ssl
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

import yaml

__all__ = ["Api", "Kind", "Refused", "of"]

_JSON = "application/json"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# The API server closes a connection that was idle for longer.
_IDLE_SECONDS = 30.0
_BUSY_TRIES = 20


class Refused(AssertionError):
    """The API server, or kubectl, said no; the text is what it said."""


@dataclass(frozen=True)
class Kind:
    """Where objects of a kind are."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    subresources: tuple[str, ...] = ()

    def path(self, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
        """Path of an object, or of the collection; *namespace* None means all."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        within = f"/namespaces/{namespace}" if self.namespaced and namespace is not None else ""
        parts = [root + within, self.plural, *([name] if name else []), *([subresource] if subresource else [])]
        return "/".join(parts)

    @property
    def group(self) -> str:
        """Its API group; "" is the core."""
        return self.api_version.rpartition("/")[0]


class Api:
    """One cluster's API, with one connection for each thread."""

    def __init__(self, kubeconfig: pathlib.Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        address = urllib.parse.urlsplit(cluster["server"])
        assert address.hostname is not None
        self._address = (address.hostname, address.port or 443)
        self._tls = _tls(cluster, user)
        self._headers = {"Accept": _JSON, "User-Agent": "sandyard-tests"}
        if token := user.get("token"):
            self._headers["Authorization"] = f"Bearer {token}"
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []
        atexit.register(self.close)
        self._kinds: dict[str, Kind] = {}

    def close(self) -> None:
        """Close the connections of all threads."""
        while self._open:
            self._open.pop().close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = _JSON,
        params: Mapping[str, str | Sequence[str]] | None = None,
        user: str = "",
        accept: str = _JSON,
    ) -> Any:
        """Send a request, as *user* if one is named, and return the reply's JSON.

        Raises
        ------
        Refused
            The server said no, or there was no whole reply.
        NotThere
            404: a kind of Refused.
        """
        target = f"{path}?{urllib.parse.urlencode(params, doseq=True)}" if params else path
        headers = {**self._headers, "Accept": accept}
        if user:
            headers["Impersonate-User"] = user
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = content_type
        for attempt in range(_BUSY_TRIES):
            status, answered, text = self._send(method, target, data, headers)
            if status != http.client.TOO_MANY_REQUESTS or attempt == _BUSY_TRIES - 1:
                break
            time.sleep(float(answered.get("Retry-After") or 1))
        if status >= http.client.BAD_REQUEST:
            error = NotThere if status == http.client.NOT_FOUND else Refused
            raise error(f"{method} {path}: {_message(text)}")
        return json.loads(text) if text else None

    def headers(self, path: str, body: Any = None, user: str = "") -> Message:
        """The headers of the reply to a GET, or to a POST of *body*, as *user* if one is named."""
        headers = {**self._headers, **({"Impersonate-User": user} if user else {})}
        if body is None:
            return self._send("GET", path, None, headers)[1]
        return self._send("POST", path, json.dumps(body).encode(), {**headers, "Content-Type": _JSON})[1]

    def kind(self, name: str) -> Kind:
        """Find a kind by any of its names: plural, singular, short, with or without its group.

        Raises
        ------
        Refused
            The server has no such kind.
        """
        wanted = name.lower()
        if wanted not in self._kinds:
            self._kinds = self._discover()
        if wanted not in self._kinds:
            raise Refused(f'the server doesn\'t have a resource type "{name}"')
        return self._kinds[wanted]

    def _discover(self) -> dict[str, Kind]:
        found: dict[str, Kind] = {}
        for root in ("/api", "/apis"):
            for group in self.request("GET", root, accept=f"{_DISCOVERY},{_JSON}")["items"]:
                group_name = group["metadata"].get("name", "")
                # The first version is the one that the server prefers.
                for version in group["versions"]:
                    api_version = f"{group_name}/{version['version']}" if group_name else version["version"]
                    for item in version.get("resources", ()):
                        kind = Kind(api_version, item["responseKind"]["kind"], item["resource"],
                                    item["scope"] == "Namespaced",
                                    tuple(sub["subresource"] for sub in item.get("subresources", ())))  # fmt: skip
                        names = (item["resource"], item.get("singularResource", ""), kind.kind.lower(),
                                 *item.get("shortNames", ()))  # fmt: skip
                        for name in filter(None, names):
                            found.setdefault(name, kind)
                            found.setdefault(f"{name}.{group_name}", kind)
        return found

    def _send(
        self, method: str, target: str, data: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Message, bytes]:
        """One request and its reply; a read is sent again when a kept connection turns out to be closed."""
        for again in (method == "GET", False):
            connection = self._connection()
            try:
                connection.request(method, target, data, headers)
                reply = connection.getresponse()
                text = reply.read()
            except (http.client.HTTPException, OSError) as error:
                self._local.connection = None
                connection.close()
                if again:
                    continue
                raise Refused(f"{method} {target}: {error!r}") from error
            self._local.used = time.monotonic()
            return reply.status, reply.headers, text
        raise AssertionError("unreachable")

    def _connection(self) -> http.client.HTTPSConnection:
        kept: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if kept is not None and time.monotonic() - self._local.used < _IDLE_SECONDS:
            return kept
        if kept is not None:
            kept.close()
        made = http.client.HTTPSConnection(*self._address, timeout=60, context=self._tls)
        self._local.connection, self._local.used = made, time.monotonic()
        self._open.append(made)
        return made


class NotThere(Refused):
    """404."""


def of(kubeconfig: pathlib.Path) -> Api:
    """Return the API of a kubeconfig; a cluster that was made anew has a new one at the same place."""
    return _of(kubeconfig, kubeconfig.stat().st_mtime_ns)


@functools.cache
def _of(kubeconfig: pathlib.Path, _written: int) -> Api:
    return Api(kubeconfig)


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if item["name"] == name)


def _tls(cluster: Mapping[str, str], user: Mapping[str, str]) -> ssl.SSLContext:
    data = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"), cadata=base64.b64decode(data).decode() if data else None
    )
    if "client-certificate-data" in user:
        # Python reads a certificate from a file alone.
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            for key in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[key]))
            file.flush()
            context.load_cert_chain(file.name)
    elif "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user.get("client-key"))
    return context


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500].decode(errors="replace")
