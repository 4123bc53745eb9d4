"""The operator's settings, from environment variables that the chart sets."""

from __future__ import annotations

import ipaddress
import os
import pathlib
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandyard.api import quantity
from sandyard.podspec import bounds
from sandyard.podspec.bounds import Policy

__all__ = ["Settings", "SettingsError", "is_address", "load"]

_RESOLV_CONF = pathlib.Path("/etc/resolv.conf")


class SettingsError(Exception):
    """A variable has a value that makes no sense; the message names both."""


@dataclass(frozen=True)
class Settings:
    """How this operator runs.

    Attributes
    ----------
    namespace
        Namespace of the operator: its Lease lives there.
    namespaces
        Namespaces to serve; empty means all.
    probe_image, probe_pull_policy
        The operator's own image, for the init container.
    forbidden
        Further ``host:port`` that the probe must find closed; ``node:port`` is the pod's own node.
    excluded_cidrs
        Further ranges that the profile Internet must not reach.
    cluster_dns
        Addresses of the cluster's DNS; without a word, the name servers that this process has itself.
    isolation_runtime, isolation_network
        ``Required`` or ``BestEffort``.
    policy
        What templates and Sandboxes may ask for, in each namespace.
    pausing
        Whether Sandboxes may be paused; it needs the right to exec.
    restarting
        Whether pools may restart and reuse pods; it needs the right to exec.
    idle_cpu_cores
        CPU use, in cores, from which on a sandbox is not idle.
    leader_election
        Whether to take a Lease first; needed for more than one replica.
    lease_duration_seconds
        How long a standby waits after the leader's last renewal.
    pod_uid
        UID of the pod that this process runs in; empty when it is not told.
    """

    namespace: str = "sandyard-system"
    namespaces: tuple[str, ...] = ()
    probe_image: str = "sandyard/operator:dev"
    probe_pull_policy: str = "IfNotPresent"
    probe_timeout_seconds: int = 20
    forbidden: tuple[str, ...] = ("node:10250",)
    excluded_cidrs: tuple[str, ...] = ()
    cluster_dns: tuple[str, ...] = ()
    isolation_runtime: str = "Required"
    isolation_network: str = "Required"
    policy: Policy = Policy()
    pausing: bool = True
    restarting: bool = True
    idle_cpu_cores: float = 0.05
    leader_election: bool = True
    lease_duration_seconds: int = 10
    lease_name: str = "sandyard"
    http_port: int = 8080
    log_level: str = "INFO"
    sweep_seconds: float = 60.0
    pod_uid: str = ""
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}")

    @property
    def lineage(self) -> str:
        """How the identities of all processes of this pod begin; empty when its UID is not known."""
        return f"{socket.gethostname()}_{self.pod_uid}_" if self.pod_uid else ""


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read ``SANDYARD_*``.

    Raises
    ------
    SettingsError
        A value makes no sense.
    """

    def get(name: str, default: str) -> str:
        return environment.get(f"SANDYARD_{name}", default)

    def words(name: str, default: str = "") -> tuple[str, ...]:
        return tuple(word for word in get(name, default).replace(",", " ").split() if word)

    def destinations(name: str, default: str) -> tuple[str, ...]:
        found = words(name, default)
        for word in found:
            host, _, port = word.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise SettingsError(f"SANDYARD_{name}={word!r}: use host:port, such as db.example.com:5432")
        return found

    def ranges(name: str) -> tuple[str, ...]:
        for word in words(name):
            try:
                ipaddress.ip_network(word, strict=False)
            except ValueError as error:
                raise SettingsError(f"SANDYARD_{name}={word!r}: use ranges such as 203.0.113.0/24") from error
        return words(name)

    def addresses(name: str) -> tuple[str, ...]:
        found = words(name)
        for word in found:
            if not is_address(word):
                raise SettingsError(f"SANDYARD_{name}={word!r}: use addresses such as 10.96.0.10")
        return found

    def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = get(name, default)
        if value not in allowed:
            raise SettingsError(f"SANDYARD_{name}={value!r}: use one of {', '.join(allowed)}")
        return value

    def number(name: str, default: str) -> int:
        value = get(name, default)
        if not value.isdigit():
            raise SettingsError(f"SANDYARD_{name}={value!r}: use a whole number")
        return int(value)

    def cores(name: str, default: str) -> float:
        value = get(name, default)
        try:
            return float(quantity.parse(value))
        except ValueError as error:
            raise SettingsError(f"SANDYARD_{name}={value!r}: use a quantity of CPU such as 50m") from error

    def policy(name: str, default: str) -> Policy:
        value = get(name, default)
        try:
            return bounds.parse(value)
        except ValueError as error:
            raise SettingsError(f"SANDYARD_{name}={value!r}: {error}") from error

    pod_uid = get("POD_UID", "")
    modes = ("Required", "BestEffort")
    booleans = ("true", "false")
    return Settings(
        namespace=get("NAMESPACE", "sandyard-system"),
        namespaces=words("WATCH_NAMESPACES"),
        probe_image=get("PROBE_IMAGE", "sandyard/operator:dev"),
        probe_pull_policy=choice("PROBE_PULL_POLICY", "IfNotPresent", ("Always", "IfNotPresent", "Never")),
        probe_timeout_seconds=number("PROBE_TIMEOUT_SECONDS", "20"),
        forbidden=destinations("FORBIDDEN", "node:10250"),
        excluded_cidrs=ranges("EXCLUDED_CIDRS"),
        cluster_dns=addresses("CLUSTER_DNS") or _own_name_servers(),
        isolation_runtime=choice("ISOLATION_RUNTIME", "Required", modes),
        isolation_network=choice("ISOLATION_NETWORK", "Required", modes),
        policy=policy("POLICY", "{}"),
        pausing=choice("PAUSING", "true", booleans) == "true",
        restarting=choice("RESTARTING", "true", booleans) == "true",
        idle_cpu_cores=cores("IDLE_CPU", "50m"),
        leader_election=choice("LEADER_ELECTION", "true", booleans) == "true",
        lease_duration_seconds=number("LEASE_DURATION_SECONDS", "10"),
        lease_name=get("LEASE_NAME", "sandyard"),
        http_port=number("HTTP_PORT", "8080"),
        log_level=choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        pod_uid=pod_uid,
        identity="_".join(part for part in (socket.gethostname(), pod_uid, uuid.uuid4().hex[:8]) if part),
    )


def _own_name_servers() -> tuple[str, ...]:
    try:
        lines = _RESOLV_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    named = [words[1] for words in map(str.split, lines) if words[:1] == ["nameserver"] and len(words) > 1]
    return tuple(address for address in named if is_address(address))


def is_address(text: str) -> bool:
    """Whether *text* is an address: no policy can name a host by its name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
