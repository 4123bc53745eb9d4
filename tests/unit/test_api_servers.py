"""The API server's addresses come and go; warm pods stay, and what is closed stays closed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from sandyard.api.network import Network
from sandyard.api.objects import EndpointSlice
from sandyard.engine.cluster.isolation import LINGER_SECONDS, ApiServers
from sandyard.engine.process import settings
from sandyard.podspec.network import Reach
from tests.unit.simulation import World

ALL = ("203.0.113.7", "203.0.113.8", "203.0.113.9")
VERSIONS = itertools.count(2)


def endpoints(*addresses: str, name: str = "kubernetes") -> EndpointSlice:
    body = {"metadata": {"name": name, "uid": name, "resourceVersion": str(next(VERSIONS))},
            "endpoints": [{"addresses": list(addresses)}] if addresses else None,
            "ports": [{"port": 6443}] if addresses else None}  # fmt: skip
    return msgspec.convert(body, EndpointSlice)


class Moving(World):
    """A world whose API servers come and go."""

    behind: EndpointSlice | None = None

    def move(self, *addresses: str) -> None:
        """The slice shows just *addresses* now."""
        after = endpoints(*addresses)
        self.operator.work.policies.endpoints_changed(self.behind, after)
        self.behind = after

    def gone(self) -> None:
        """There is no slice any more."""
        self.operator.work.policies.endpoints_changed(self.behind, None)
        self.behind = None

    def closed(self) -> set[str]:
        """Which API servers the profile Internet leaves out."""
        spec = self.api.objects["networkpolicies", "sandyard-internet"]["spec"]
        holes = [hole for peer in spec["egress"][0]["to"] for hole in peer["ipBlock"]["except"]]
        pair = set(ALL[1:]) if "203.0.113.8/31" in holes else set()
        return pair | {address for address in ALL if f"{address}/32" in holes}


@pytest.fixture
def world() -> Iterator[Moving]:
    made = Moving()
    made.move(ALL[0])
    made.prompt(4)
    assert len(made.free()) == 2
    yield made
    made.close()


def deletes(world: World) -> list[str]:
    return [write.name for write in world.api.sent if write.what == "delete"]


RESTARTS: dict[str, Sequence[Sequence[str]]] = {
    "one, restarted": [ALL[:1], (), ALL[:1], (), ALL[:1]],
    "three, one after the other": [ALL, ALL[1:], ALL, ALL[::2], ALL, ALL[:2], ALL],
    "one that becomes three": [ALL[:1], ALL[:2], ALL],
    "one that moves": [ALL[:1], (), ALL[1:2]],
    "all at once, and one by one again": [ALL, (), ALL[:1], ALL[:2], ALL],
}


@pytest.mark.parametrize("restart", RESTARTS)
def test_a_restart_of_the_control_plane_replaces_no_warm_pod(world: Moving, restart: str) -> None:
    before = {pod["metadata"]["uid"] for pod in world.free()}
    for addresses in RESTARTS[restart]:
        world.move(*addresses)
        world.prompt(4)
    world.claim("s1")
    world.prompt(6)
    assert deletes(world) == []
    ready = world.api.objects["sandboxes", "s1"]["status"]
    assert ready["podUID"] in before, "the claim was served by a pod that was warm before"
    assert before <= {pod["metadata"]["uid"] for pod in world.pods()}


@pytest.mark.parametrize("restart", RESTARTS)
def test_an_address_that_is_away_for_a_moment_stays_closed(world: Moving, restart: str) -> None:
    seen = set(ALL[:1])
    for addresses in RESTARTS[restart]:
        seen |= set(addresses)
        world.move(*addresses)
        world.prompt(2)
        assert world.closed() == seen
        assert set(ALL) & {item.rpartition(":")[0] for item in addresses_of(world)} == seen


def addresses_of(world: Moving) -> tuple[str, ...]:
    return world.operator.work.policies._api_servers.addresses()


def test_no_slice_at_all_says_nothing(world: Moving) -> None:
    world.gone()
    world.prompt(2)
    world.now += 10 * LINGER_SECONDS
    world.prompt(2)
    assert world.closed() == {ALL[0]}


def test_an_address_that_does_not_come_back_is_open_in_the_end(world: Moving) -> None:
    world.move(*ALL[1:])
    world.prompt(2)
    assert world.closed() == set(ALL)
    world.now += LINGER_SECONDS + 2
    world.prompt(2)
    assert world.closed() == set(ALL[1:])


def test_what_changes_nothing_writes_nothing(world: Moving) -> None:
    """A restart of the API server is no work for every namespace."""
    world.prompt(2)
    before = len(world.api.sent)
    for addresses in ((), ALL[:1], (), ALL[:1]):
        world.move(*addresses)
        world.prompt(2)
    assert [write for write in world.api.sent[before:] if write.what == "policy"] == []


def test_slices_are_taken_together() -> None:
    servers = ApiServers(World().leader.queues[0].clock)
    first, second = endpoints(ALL[0], name="a"), endpoints("2001:db8::1", name="b")
    assert servers.changed(None, first)
    assert servers.changed(None, second)
    assert set(servers.addresses()) == {f"{ALL[0]}:6443", "[2001:db8::1]:6443"}
    assert not servers.changed(first, endpoints(name="a")), "it may be back in a moment"


# Destinations and ranges of the chart


@pytest.mark.parametrize("forbidden", ["db:5432", "cafe:80", "fade.bad:443", "[2001:db8::1]:443", "10.0.0.300:80"])
def test_a_forbidden_name_is_no_address(forbidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = settings.load({"SANDYARD_FORBIDDEN": forbidden})
    real = settings.Settings
    monkeypatch.setattr(settings, "Settings", lambda **fields: real(**{**fields, "forbidden": loaded.forbidden}))
    world = World()
    world.prompt(4)
    assert len(world.free()) == 2, "pods start"
    words = world.pods()[0]["spec"]["initContainers"][0]["command"]
    assert f"--forbidden={forbidden}" in words
    world.close()


@pytest.mark.parametrize("value", ["db", "db:", ":80", "db:http", "db:0", "db:65536", "db:-1"])
def test_a_destination_without_a_port_is_refused_with_a_remedy(value: str) -> None:
    with pytest.raises(settings.SettingsError, match="host:port"):
        settings.load({"SANDYARD_FORBIDDEN": f"10.0.0.1:80,{value}"})


@pytest.mark.parametrize("value", ["10.0.0.0/33", "db/8", "10.0.0/8", "2001:db8::/129", "1.2.3.4/"])
def test_a_range_that_is_none_is_refused_with_a_remedy(value: str) -> None:
    with pytest.raises(settings.SettingsError, match=r"203\.0\.113\.0/24"):
        settings.load({"SANDYARD_EXCLUDED_CIDRS": f"198.51.100.0/24 {value}"})


# Policies that were deleted while nobody looked


@pytest.mark.parametrize("left", [[], ["sandyard-closed"], ["sandyard-dns", "sandyard-internet"]])
def test_policies_that_were_deleted_while_no_operator_ran_are_put_back_at_its_start(left: list[str]) -> None:
    world = World()
    world.prompt(4)
    world.leader.kill()
    for policy in world.api.all("networkpolicies"):
        if policy["metadata"]["name"] not in left:
            world.api.remove(("networkpolicies", policy["metadata"]["name"]))
    world.start()
    world.operator.work.wake_all()
    world.work(1000)
    standing = {policy["metadata"]["name"] for policy in world.api.all("networkpolicies")}
    assert standing == {"sandyard-closed", "sandyard-dns", "sandyard-internet"}
    world.close()


def test_what_is_asked_for_again_and_again_is_remembered_once() -> None:
    world = World()
    world.prompt(4)
    policies: Any = world.operator.work.policies
    reach = Reach(Network.model_validate({"egress": "AllowList", "allow": [{"cidr": "192.0.2.0/28"}]}))
    for _ in range(100):
        with world.dice():
            world.loop.run_until_complete(policies.ensure("ns", reach))
        world.catch_up()
    assert len(policies._asked["ns"]) == 1
    for number in range(100):
        with world.dice():
            world.loop.run_until_complete(policies.reconcile(f"once-{number}"))
    assert len(policies._locks) + len(policies._refused) + len(policies._asked) + len(policies._seen) < 5
    world.close()
