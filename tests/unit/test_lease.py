"""The lease: who holds it, for how long by whose clock, and when a holder has to stop."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandyard.kube import errors, lease
from sandyard.kube.client import Client
from sandyard.kube.lease import Lease

DURATION = 10


class Clock:
    """A clock that the test moves; sleeping moves it too."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps = 0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps += 1
        assert self.naps < 1000, "it never ends"


class Api:
    """The API server as far as one Lease needs it: versions, conflicts, and faults on demand."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.body: dict[str, Any] | None = None
        self.version = 0
        self.writes = 0
        self.fault: Exception | None = None
        self.takes_seconds = 0.0

    async def get(self, _path: str) -> dict[str, Any]:
        if self.fault is not None:
            raise self.fault
        if self.body is None:
            raise errors.ApiError(404, {"reason": "NotFound"})
        return copy.deepcopy(self.body)

    async def create(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.body is not None:
            raise errors.ApiError(409, {"reason": "AlreadyExists"})
        return self._store(body)

    async def replace(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.clock.now += self.takes_seconds
        if self.fault is not None:
            raise self.fault
        assert self.body is not None
        if body["metadata"].get("resourceVersion") != self.body["metadata"]["resourceVersion"]:
            raise errors.ApiError(409, {"reason": "Conflict"})
        return self._store(body)

    def _store(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.writes += 1
        self.body = copy.deepcopy(body)
        self.body["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.body)

    @property
    def holder(self) -> str:
        assert self.body is not None
        return str(self.body["spec"]["holderIdentity"])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    times = SimpleNamespace(monotonic=made.monotonic, time=lambda: 1.8e9 + made.now, strftime=lease.time.strftime,
                            gmtime=lease.time.gmtime)  # fmt: skip
    monkeypatch.setattr(lease, "time", times)
    monkeypatch.setattr(lease, "asyncio", SimpleNamespace(sleep=made.sleep))
    return made


@pytest.fixture
def api(clock: Clock) -> Api:
    return Api(clock)


def candidate(api: Api, identity: str) -> Lease:
    return Lease(cast("Client", api), "sandyard-system", "sandyard", identity, DURATION)


async def holding(api: Api, identity: str = "a") -> Lease:
    made = candidate(api, identity)
    await made.acquire()
    return made


async def test_a_lease_that_is_not_there_is_made_and_held(api: Api) -> None:
    made = candidate(api, "a")
    assert not made.valid
    await made.acquire()
    assert made.valid
    assert api.holder == "a"


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": None}])
async def test_a_lease_that_somebody_has_made_by_hand_is_free(api: Api, spec: Any) -> None:
    """`kubectl create` takes one without a spec; a process that ended at it would never lead."""
    api.body = {"metadata": {"name": "sandyard", "resourceVersion": "0"}}
    if spec is not None:
        api.body["spec"] = spec
    made = candidate(api, "a")
    assert await made._attempt()
    assert (api.holder, made.valid) == ("a", True)


async def test_a_lease_that_loses_its_spec_is_given_back_without_a_word(api: Api) -> None:
    made = await holding(api)
    assert api.body is not None
    del api.body["spec"]
    await made.release()
    assert not made.held


async def test_a_holder_that_has_not_renewed_for_seven_tenths_may_not_write(api: Api, clock: Clock) -> None:
    made = await holding(api)
    clock.now += 6.99
    assert made.valid
    clock.now += 0.02
    assert not made.valid, "others may take it from now on"
    assert made.held, "it has not been told; its own clock is enough"


async def test_what_counts_is_when_a_renewal_was_sent_not_when_it_was_answered(api: Api, clock: Clock) -> None:
    made = await holding(api)
    clock.now += 2
    api.takes_seconds = 4
    assert await made._attempt()
    clock.now += 2.9
    assert made.valid
    clock.now += 0.2
    assert not made.valid


async def test_others_wait_until_it_has_not_changed_for_its_duration_by_their_own_clock(api: Api, clock: Clock) -> None:
    await holding(api, "a")
    assert api.body is not None
    # The clock of the other machine may be years behind.
    api.body["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
    other = candidate(api, "b")
    assert not await other._attempt()
    clock.now += 9.9
    assert not await other._attempt()
    clock.now += 0.2
    assert await other._attempt()
    assert api.holder == "b"
    assert api.body["spec"]["leaseTransitions"] == 1


async def test_each_renewal_makes_others_wait_anew(api: Api, clock: Clock) -> None:
    made, other = await holding(api, "a"), candidate(api, "b")
    for _ in range(6):
        assert not await other._attempt()
        clock.now += 5
        assert await made._attempt()
    assert api.holder == "a"
    assert not other.valid


async def test_a_takeover_makes_others_wait_anew_whatever_the_new_holders_clock_says(api: Api, clock: Clock) -> None:
    await holding(api, "a")
    other = candidate(api, "b")
    assert not await other._attempt()
    clock.now += 9
    assert api.body is not None
    # The new holder's clock shows the very moment of the last renewal.
    api.body["spec"] |= {"holderIdentity": "c", "leaseTransitions": 1}
    assert not await other._attempt()
    clock.now += 9
    assert not await other._attempt()
    assert api.holder == "c"


async def test_each_change_of_the_holder_is_counted_and_no_renewal(api: Api, clock: Clock) -> None:
    counts = []
    for identity in ("a", "b", "a"):
        made = candidate(api, identity)
        await made._attempt()
        clock.now += 11
        assert await made._attempt()
        assert await made._attempt()
        assert api.body is not None
        counts.append(api.body["spec"]["leaseTransitions"])
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]


async def test_a_lease_that_was_given_back_is_free_at_once(api: Api) -> None:
    made = await holding(api, "a")
    await made.release()
    assert not made.valid
    assert await candidate(api, "b")._attempt()


async def test_nobody_gives_back_what_another_holds(api: Api, clock: Clock) -> None:
    made = await holding(api, "a")
    other = candidate(api, "b")
    await other._attempt()
    clock.now += 11
    assert await other._attempt()
    await made.release()
    assert api.holder == "b"


async def test_of_two_that_take_it_at_once_one_has_it(api: Api) -> None:
    first, second = candidate(api, "a"), candidate(api, "b")
    await first.acquire()
    await first.release()
    stale = await api.get("")
    assert await first._attempt()
    # The second read it before the first took it.
    second._current, second.held = stale, True
    assert not await second._attempt()
    assert not second.valid
    assert api.holder == "a"


async def test_a_holder_stops_when_another_has_taken_it(api: Api, clock: Clock) -> None:
    made = await holding(api, "a")
    assert api.body is not None
    api.body["spec"].update(holderIdentity="b", renewTime="2026-01-01T00:00:00.000000Z", leaseTransitions=1)
    api.body["metadata"]["resourceVersion"] = "99"
    await made.keep()
    assert not made.held
    assert not made.valid
    assert api.holder == "b"
    # One attempt with what it knew, one look at what there is.
    assert clock.now <= 1000 + 2 * made.retry_seconds


@pytest.mark.parametrize("fault", [errors.TransportError("cut off"), errors.ApiError(500, {"reason": "InternalError"})])
async def test_a_holder_that_cannot_renew_stops_before_others_may_start(
    api: Api, clock: Clock, fault: Exception
) -> None:
    made = await holding(api)
    api.fault = fault
    await made.keep()
    assert not made.valid
    assert clock.now <= 1000 + DURATION


async def test_one_renewal_that_fails_costs_nothing(api: Api, clock: Clock) -> None:
    made = await holding(api)
    api.fault = errors.TransportError("cut off")
    clock.now += 2
    assert not await made._attempt()
    assert made.valid
    api.fault = None
    clock.now += 2
    assert await made._attempt()
    clock.now += 6
    assert made.valid


async def test_an_api_server_that_is_back_just_in_time_is_found_in_time(api: Api, clock: Clock) -> None:
    made = await holding(api)
    nap = clock.sleep

    async def sleep(seconds: float) -> None:
        await nap(seconds)
        away = 1001 < clock.now < 1000 + made.renew_deadline_seconds - 0.5
        api.fault = errors.TransportError("cut off") if away else None
        if clock.now > 1000 + 2 * DURATION:
            made.held = False

    lease.asyncio.sleep = sleep  # type: ignore[assignment]
    writes = api.writes
    await made.keep()
    assert clock.now > 1000 + 2 * DURATION, "it was lost before"
    assert api.writes - writes < 12, "while all is well it renews at leisure"


async def test_a_holder_that_was_stopped_for_too_long_does_not_renew(api: Api, clock: Clock) -> None:
    made = await holding(api)
    before = api.writes
    clock.now += 60
    await made.keep()
    assert api.writes == before
    assert not made.held


async def test_others_wait_as_long_as_the_holder_asks_for(api: Api, clock: Clock) -> None:
    """During an upgrade that shortens the duration, the holder still goes by the longer one."""
    holder = Lease(cast("Client", api), "sandyard-system", "sandyard", "a", 3 * DURATION)
    await holder.acquire()
    other = candidate(api, "b")
    assert not await other._attempt()
    clock.now += 2 * DURATION
    assert holder.valid
    assert not await other._attempt()


async def test_of_two_that_create_it_at_once_one_has_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = candidate(api, "a"), candidate(api, "b")
    make = api.create

    async def overtaken(path: str, body: dict[str, Any]) -> dict[str, Any]:
        monkeypatch.setattr(api, "create", make)
        assert await first._attempt()
        return await make(path, body)

    monkeypatch.setattr(api, "create", overtaken)
    assert not await second._attempt()
    assert not second.valid
    assert first.valid


async def test_a_lease_tells_since_when_it_has_its_holder(api: Api, clock: Clock) -> None:
    made = await holding(api)
    assert api.body is not None
    acquired = api.body["spec"]["acquireTime"]
    clock.now += 2
    assert await made._attempt()
    assert api.body["spec"]["acquireTime"] == acquired
    assert api.body["spec"]["renewTime"] != acquired
    clock.now += 2
    await made.release()
    assert await candidate(api, "b")._attempt()
    assert api.body["spec"]["acquireTime"] != acquired


async def test_a_process_that_ends_without_an_api_server_ends_all_the_same(api: Api) -> None:
    made = await holding(api)
    api.fault = errors.TransportError("cut off")
    await made.release()
    assert not made.held
