"""The operator's settings: what the chart says is what holds, and nonsense ends the start."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from sandyard.engine.process import settings
from sandyard.podspec.bounds import Bounds, Policy


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("NAMESPACE", "mine", "namespace", "mine"),
        ("WATCH_NAMESPACES", "a,b, c", "namespaces", ("a", "b", "c")),
        ("PROBE_IMAGE", "i:1", "probe_image", "i:1"),
        ("PROBE_PULL_POLICY", "Always", "probe_pull_policy", "Always"),
        ("PROBE_TIMEOUT_SECONDS", "7", "probe_timeout_seconds", 7),
        ("FORBIDDEN", "10.0.0.1:443,[::1]:80", "forbidden", ("10.0.0.1:443", "[::1]:80")),
        ("EXCLUDED_CIDRS", "192.0.2.0/24", "excluded_cidrs", ("192.0.2.0/24",)),
        ("CLUSTER_DNS", "192.0.2.10,2001:db8::a", "cluster_dns", ("192.0.2.10", "2001:db8::a")),
        ("ISOLATION_RUNTIME", "BestEffort", "isolation_runtime", "BestEffort"),
        ("ISOLATION_NETWORK", "BestEffort", "isolation_network", "BestEffort"),
        (
            "POLICY",
            '{"allowRoot": true, "namespaces": {"n": {"maxCpu": 1}}}',
            "policy",
            Policy(Bounds(allow_root=True), {"n": Bounds(allow_root=True, max_cpu="1")}),
        ),
        ("PAUSING", "false", "pausing", False),
        ("RESTARTING", "false", "restarting", False),
        ("IDLE_CPU", "250m", "idle_cpu_cores", 0.25),
        ("LEADER_ELECTION", "false", "leader_election", False),
        ("LEASE_DURATION_SECONDS", "15", "lease_duration_seconds", 15),
        ("LEASE_NAME", "mine", "lease_name", "mine"),
        ("HTTP_PORT", "9", "http_port", 9),
        ("LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
    ],
)
def test_each_variable_sets_its_own_field_and_no_other(name: str, value: str, field: str, expected: Any) -> None:
    default, made = settings.load({}), settings.load({f"SANDYARD_{name}": value})
    changed = {key for key in vars(default) if key != "identity" and getattr(default, key) != getattr(made, key)}
    assert changed == {field}
    assert getattr(made, field) == expected


def test_without_a_word_isolation_is_required_and_nobody_is_root() -> None:
    made = settings.load({})
    assert (made.isolation_runtime, made.isolation_network) == ("Required", "Required")
    assert not made.policy.of("any").allow_root
    assert made.leader_election
    assert made.identity != settings.load({}).identity, "two replicas on one host are two"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search a.b\nnameserver 10.96.0.10\noptions ndots:5\n", ("10.96.0.10",)),
        ("nameserver 192.0.2.1\n nameserver\t2001:db8::1 # second\n", ("192.0.2.1", "2001:db8::1")),
        ("# nameserver 192.0.2.1\nnameserver\nnameserver none\n\xff\n", ()),
    ],
)
def test_the_operators_own_name_servers_are_the_clusters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, text: str, expected: tuple[str, ...]
) -> None:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(settings, "_RESOLV_CONF", file)
    assert settings.load({}).cluster_dns == (), "there is no such file"
    file.write_bytes(text.encode("latin-1"))
    assert settings.load({}).cluster_dns == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLUSTER_DNS", "dns.example.com"),
        ("ISOLATION_RUNTIME", "required"), ("ISOLATION_NETWORK", "Off"), ("POLICY", "{"),
        ("POLICY", '{"allowRoot": 1}'), ("PAUSING", ""),
        ("PROBE_TIMEOUT_SECONDS", "-1"), ("HTTP_PORT", "http"), ("IDLE_CPU", "much"), ("LOG_LEVEL", "TRACE"),
        ("PROBE_PULL_POLICY", "Sometimes"), ("LEADER_ELECTION", "1"),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(settings.SettingsError, match=re.escape(f"SANDYARD_{name}={value!r}")):
        settings.load({f"SANDYARD_{name}": value})
