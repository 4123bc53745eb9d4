"""Where the API server is, and how to prove who we are."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import pathlib
import ssl
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandyard.kube import errors

__all__ = ["ClusterConfig", "load"]

_ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The kubelet renews a projected token well before it expires; a minute is always in time.
_TOKEN_TTL_SECONDS = 60.0
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# To ask the generated client each time takes a tenth of all that a claim takes of the processor.
_ASK_SECONDS = 1.0
# Whoever is refused does not read it more often.
_RENEW_SECONDS = 5.0


@dataclass
class ClusterConfig:
    """Address and credentials of one cluster.

    Attributes
    ----------
    server
        Base URL, without a slash at its end.
    ca_file, certificate_file, key_file
        PEM files, where they are used.
    token_file
        File that holds a bearer token and is read again every minute, and `ca_file` with it.
    namespace
        Namespace to work in unless another is named: the context's, or the pod's own.
    proxy
        URL of an HTTP proxy on the way to the server; None: there is none.
    source
        A `kubernetes.client.Configuration` that knows how to renew a token (exec plugins).
    reload
        Reads the kubeconfig anew, and runs its plugin.
    """

    server: str
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    token_file: pathlib.Path | None = None
    source: Any = None
    reload: Callable[[], ClusterConfig] | None = field(default=None, repr=False)
    namespace: str = "default"
    proxy: str | None = None
    _token: str | None = field(default=None, repr=False)
    _token_read_at: float = field(default=float("-inf"), repr=False)
    _value: str | None = field(default=None, repr=False)
    _asked_at: float = field(default=float("-inf"), repr=False)
    _renewed_at: float = field(default=float("-inf"), repr=False)
    _contexts: weakref.WeakSet[ssl.SSLContext] = field(default_factory=weakref.WeakSet, repr=False)

    @property
    def answers_at_once(self) -> bool:
        """Whether `authorization` runs nothing."""
        return self.source is None or time.monotonic() - self._asked_at <= _ASK_SECONDS

    def renewed(self, used: str | None) -> str | None:
        """Another value than *used*, which the server has refused; None: there is no other."""
        if self.reload is None:
            return None
        if time.monotonic() - self._renewed_at > _RENEW_SECONDS:
            self._renewed_at = time.monotonic()
            with contextlib.suppress(errors.ConfigError, OSError):
                found = self.reload()
                if found.server == self.server:
                    self.source, self._asked_at = found.source, float("-inf")
        value = self.authorization()
        return value if value != used else None

    def authorization(self) -> str | None:
        """Value of the Authorization header, fresh enough to be valid; None with certificates alone.

        Raises
        ------
        NotConnected
            There is no token yet, or none that can be read.
        """
        if self.token_file is not None:
            if time.monotonic() - self._token_read_at > _TOKEN_TTL_SECONDS:
                self._read_token(self.token_file)
            return f"Bearer {self._token}"
        if self.source is not None:
            # Runs the credential plugin of the kubeconfig when its token has expired.
            if time.monotonic() - self._asked_at > _ASK_SECONDS:
                self._value = self.source.get_api_key_with_prefix("BearerToken", alias="authorization")
                self._asked_at = time.monotonic()
            return self._value
        return None

    def _read_token(self, file: pathlib.Path) -> None:
        """Read the token; while that fails, the one before is used: the kubelet renews it long before its end."""
        problem = "it is empty"
        try:
            token = file.read_text().strip()
        except (OSError, ValueError) as error:
            token, problem = "", str(error)
        if token:
            self._token, self._token_read_at = token, time.monotonic()
            self._trust()
        elif self._token is None:
            raise errors.NotConnected(f"no token in {file}: {problem}")

    def _trust(self) -> None:
        """Trust the authorities that have come since: whoever replaces a cluster's shows the next one before it."""
        for context in self._contexts:
            # A file that is written anew just now is read in a minute.
            with contextlib.suppress(OSError):
                context.load_verify_locations(cafile=self.ca_file)

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS settings; None for plain HTTP.

        Raises
        ------
        ConfigError
            A certificate cannot be read.
        """
        if not self.server.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except OSError as error:
            raise errors.ConfigError(f"a certificate of {self.server} cannot be read: {error}") from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.ca_file:
            self._contexts.add(context)
        return context


def load(kubeconfig: str | None = None, context: str | None = None) -> ClusterConfig:
    """Use the service account inside a pod, else the kubeconfig (``KUBECONFIG`` or ~/.kube/config).

    Parameters
    ----------
    kubeconfig
        Path of the kubeconfig to use in any case.
    context
        Its context to use; None: the current one.

    Raises
    ------
    ConfigError
        Neither is there, or it has no such context.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    named = kubeconfig or context or os.environ.get("KUBECONFIG")
    if host and (_ACCOUNT / "token").exists() and not named:
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        bracketed = f"[{host}]" if ":" in host else host
        return ClusterConfig(
            f"https://{bracketed}:{port}", ca_file=str(_ACCOUNT / "ca.crt"), token_file=_ACCOUNT / "token",
            namespace=(_ACCOUNT / "namespace").read_text().strip(),
        )  # fmt: skip
    # As slow to import as all the rest together, and of no use inside a cluster.
    from kubernetes import config as kubernetes_config
    from kubernetes.client import Configuration

    source = Configuration()
    try:
        # Told explicitly: the library reads the variable only once, when it is imported.
        file = kubeconfig or os.environ.get("KUBECONFIG")
        kubernetes_config.load_kube_config(file, context=context, client_configuration=source)
        contexts, current = kubernetes_config.list_kube_config_contexts(file)
        server = str(source.host).rstrip("/")
        if not server.startswith(("http://", "https://")):
            raise ValueError(f"its server is {server!r}, and no http:// or https:// address")
    except Exception as error:
        # Of a file that is no kubeconfig the library says so in many ways (YAMLError, TypeError, UnicodeDecodeError).
        why = " ".join(str(error).split())
        raise errors.ConfigError(
            f"no service account and no usable kubeconfig ({why}); set KUBECONFIG to a kubeconfig file"
        ) from error
    return ClusterConfig(
        server,
        ca_file=source.ssl_ca_cert,
        certificate_file=source.cert_file,
        key_file=source.key_file,
        verify=bool(source.verify_ssl),
        source=source,
        namespace=_named(contexts, context, current)["context"].get("namespace") or "default",
        proxy=_proxy(str(source.host), source),
        reload=functools.partial(load, file, context),
    )


def _named(contexts: Sequence[dict[str, Any]], name: str | None, current: dict[str, Any]) -> dict[str, Any]:
    return next((one for one in contexts if one["name"] == name), current)


def _proxy(server: str, source: Any) -> str | None:
    """The proxy on the way: the kubeconfig's ``proxy-url``, else that of the environment, as kubectl has it."""
    parts = urllib.parse.urlsplit(server)
    environment = urllib.request.getproxies_environment()
    found: str | None = source.proxy if source.proxy not in environment.values() else None
    if found is None and not _bypassed(parts, environment.get("no", "")):
        found = environment.get(parts.scheme)
    if found is not None and "://" not in found:
        found = f"http://{found}"
    if found is not None and not found.startswith(("http://", "https://")):
        raise errors.ConfigError(f"proxy {found}: only http:// and https:// proxies can be used")
    return found


def _bypassed(server: urllib.parse.SplitResult, exceptions: str) -> bool:
    """Whether the environment's proxy is not for *server*: it is this machine, or NO_PROXY names it.

    As Go has it (golang.org/x/net/http/httpproxy): names, which stand for what is below them too, addresses, networks
    (``10.0.0.0/8``) and ``*``, each but a network with or without a port.
    """
    host = (server.hostname or "").rstrip(".")
    port = str(server.port or (443 if server.scheme == "https" else 80))
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(one, host, port, address) for one in exceptions.lower().replace(",", " ").split())


def _matches(exception: str, host: str, port: str, address: _Address | None) -> bool:
    if exception == "*":
        return True
    if "/" in exception:
        with contextlib.suppress(ValueError):
            return address is not None and address in ipaddress.ip_network(exception, strict=False)
        return False
    name, colon, its_port = exception.rpartition(":")
    if not colon or _address(exception) is not None:
        name, its_port = exception, port
    name = name.strip("[]")
    if address is not None:
        return its_port == port and _address(name) == address
    below = f".{name.removeprefix('*').removeprefix('.')}"
    return its_port == port and (host.endswith(below) or (host == name and not name.startswith((".", "*"))))


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
