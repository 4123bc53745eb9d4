"""What goes before an uninstall: everything of ours, in the namespaces that are served, and nothing else."""

from __future__ import annotations

from typing import Any, cast

import pytest

from sandyard.engine.drain import drain
from sandyard.kube import errors
from sandyard.kube.client import Client

_ROOT = "/apis/sandyard.dev/v1alpha1"


class Api:
    """Sandboxes and pools of two namespaces; a delete ends an object at once, unless something keeps it."""

    def __init__(self) -> None:
        self.there = [
            f"{_ROOT}/namespaces/{namespace}/{resource}/x"
            for namespace in ("a", "b")
            for resource in ("sandboxpools", "sandboxes")
        ]
        self.kept = ""
        self.deleted: list[str] = []
        self.refusals: dict[str, int] = {}

    async def items(self, path: str) -> list[dict[str, Any]]:
        resource = path.rpartition("/")[2]
        if status := self.refusals.get(resource):
            raise errors.ApiError(status, {"message": "no"})
        above = path.rpartition("/")[0]
        found = [there for there in self.there if there.startswith(above) and f"/{resource}/" in there]
        return [{"metadata": {"name": "x", "namespace": there.split("/")[5], "uid": there}} for there in found]

    async def delete(self, path: str, *, uid: str) -> None:
        assert uid == path
        self.deleted.append(path)
        if path != self.kept:
            self.there.remove(path)


async def run(api: Api, *namespaces: str, seconds: float = 10) -> list[str]:
    return await drain(cast("Client", api), list(namespaces), seconds)


async def test_sandboxes_go_before_the_pools_and_nothing_is_left() -> None:
    api = Api()
    assert await run(api) == []
    assert api.there == []
    assert [path.split("/")[-2] for path in api.deleted] == ["sandboxes"] * 2 + ["sandboxpools"] * 2


async def test_other_namespaces_are_left_alone() -> None:
    api = Api()
    assert await run(api, "a") == []
    assert {path.split("/")[5] for path in api.there} == {"b"}
    assert len(api.there) == 2


async def test_what_stays_is_told_by_its_kind_and_name() -> None:
    api = Api()
    api.kept = api.there[0]
    assert await run(api, seconds=0.4) == ["SandboxPool a/x"]


async def test_a_kind_that_is_not_served_has_no_objects_and_any_other_refusal_is_an_error() -> None:
    api = Api()
    api.refusals = {"sandboxes": 404}
    await run(api)
    assert {path.split("/")[-2] for path in api.deleted} == {"sandboxpools"}
    api.refusals = {"sandboxes": 403}
    with pytest.raises(errors.ApiError):
        await run(api)
