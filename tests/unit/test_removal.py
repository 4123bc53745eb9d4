"""Objects are deleted and waited for; what does not go is named."""

from __future__ import annotations

from typing import Any

import pytest

from sandyard.kube import errors
from sandyard.kube.backoff import pause_seconds
from sandyard.kube.removal import remove


class Api:
    """Objects by path; a delete takes one look to show, or for ever where a finalizer stays."""

    def __init__(self, *names: str, kept: tuple[str, ...] = ()) -> None:
        self.there: dict[str, dict[str, Any]] = {name: {"metadata": {"name": name, "uid": name}} for name in names}
        self.kept = kept
        self.asked: list[str] = []
        self.failures: dict[str, Exception] = {}

    async def delete(self, path: str, *, uid: str) -> dict[str, Any]:
        self.asked.append(path)
        if failure := self.failures.pop(path, None):
            raise failure
        assert uid == path
        self.there[path]["metadata"]["deletionTimestamp"] = "now"
        return {}

    async def look(self) -> dict[str, dict[str, Any]]:
        found = dict(self.there)
        for path, body in found.items():
            if "deletionTimestamp" in body["metadata"] and path not in self.kept:
                del self.there[path]
        return found


def client(api: Api) -> Any:
    return api


async def test_each_object_is_asked_to_go_once_and_waited_for() -> None:
    api, counts = Api("a", "b"), list[int]()
    assert await remove(client(api), api.look, 30, counts.append) == []
    assert api.asked == ["a", "b"]
    assert counts == [2, 2, 0]


async def test_what_a_finalizer_keeps_is_returned_when_time_is_up() -> None:
    api = Api("a", "b", kept=("b",))
    (left,) = await remove(client(api), api.look, 0.5)
    assert left["metadata"]["name"] == "b"


async def test_a_delete_without_an_answer_is_repeated_and_one_that_is_refused_is_not() -> None:
    api = Api("a", "b", "c")
    api.failures = {"a": errors.TransportError("cut"), "b": errors.ApiError(409, {"reason": "Conflict"})}
    assert await remove(client(api), api.look, 30) == []
    assert sorted(api.asked) == ["a", "a", "b", "b", "c"]
    api = Api("a")
    api.failures = {"a": errors.ApiError(403, {"reason": "Forbidden"})}
    with pytest.raises(errors.ApiError, match="Forbidden"):
        await remove(client(api), api.look, 30)


def test_pauses_grow_to_their_bound_and_are_never_in_step() -> None:
    assert [pause_seconds(failures, 0.2, 2, jitter=0.5) for failures in (0, 1, 2, 3, 4, 1000)] == [
        0.2, 0.4, 0.8, 1.6, 2.0, 2.0,
    ]  # fmt: skip
    assert {pause_seconds(0, 1, 1, jitter=jitter) for jitter in (0.0, 1.0)} == {0.5, 1.5}
    assert len({pause_seconds(3, 1, 10) for _ in range(20)}) > 1
