"""What goes before an uninstall: everything of ours, in the namespaces that are served, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from sandyard.api import names
from sandyard.engine.drain import Outcome, drain
from sandyard.kube import errors
from sandyard.kube.client import Client

_ROOT = "/apis/sandyard.dev/v1alpha1"
HOLD = "example.com/hold"


class Api:
    """Sandboxes and pools of two namespaces; the operator ends what is deleted, unless a pod of it stays.

    Attributes
    ----------
    objects
        By path.
    remains
        Pods and workspaces by the UID of their Sandbox or pool.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        for namespace in ("a", "b"):
            for resource in ("sandboxpools", "sandboxes"):
                path = f"{_ROOT}/namespaces/{namespace}/{resource}/x"
                metadata = {"name": "x", "namespace": namespace, "uid": path, "resourceVersion": "1",
                            "finalizers": [names.FINALIZER]}  # fmt: skip
                self.objects[path] = {"metadata": metadata}
        self.remains: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.deleted: list[str] = []
        self.patched: list[str] = []
        self.refusals: dict[str, int] = {}
        self.conflicts = 0

    def hold(self, path: str) -> None:
        """Somebody puts a finalizer of theirs on an object."""
        self.objects[path]["metadata"]["finalizers"].append(HOLD)

    def leave(self, path: str, resource: str = "pods", **changes: Any) -> None:
        """A pod of that object (or a workspace) stays when it is deleted."""
        body = {"metadata": {"name": "left", "namespace": path.split("/")[5], "finalizers": [HOLD],
                             "deletionTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"containers": [], "nodeName": "n"}, "status": {"phase": "Failed"}}  # fmt: skip
        for key, value in changes.items():
            part, _, field = key.partition("_")
            body[part][field] = value
        if resource != "pods":
            body["spec"] = {}
        self.remains.setdefault(path, []).append((resource, body))

    async def items(self, path: str, params: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        above, _, resource = path.rpartition("/")
        if params is not None:
            owner = params["labelSelector"].partition("=")[2].partition(",")[0]
            assert above == f"/api/v1/namespaces/{owner.split('/')[5]}"
            return [body for kind, body in self.remains.get(owner, ()) if kind == resource]
        if status := self.refusals.get(resource):
            raise errors.ApiError(status, {"message": "no"})
        return [
            body for there, body in list(self.objects.items()) if there.startswith(above) and f"/{resource}/" in there
        ]

    async def get(self, path: str) -> dict[str, Any]:
        return self.objects[path]

    async def delete(self, path: str, *, uid: str) -> None:
        assert uid == path
        self.deleted.append(path)
        metadata = self.objects[path]["metadata"]
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        if not self.remains.get(path):
            self._finalize(path, [name for name in metadata["finalizers"] if name != names.FINALIZER])

    async def merge_patch(self, path: str, body: dict[str, Any]) -> None:
        if self.conflicts:
            self.conflicts -= 1
            raise errors.ApiError(409, {"message": "changed", "reason": "Conflict"})
        self.patched.append(path)
        metadata = self.objects[path]["metadata"]
        assert body["metadata"]["uid"] == path
        assert body["metadata"]["resourceVersion"] == metadata["resourceVersion"]
        self._finalize(path, body["metadata"]["finalizers"] or [])

    def _finalize(self, path: str, finalizers: list[str]) -> None:
        self.objects[path]["metadata"]["finalizers"] = finalizers
        if not finalizers:
            del self.objects[path]


async def run(api: Api, *namespaces: str, seconds: float = 0.6) -> tuple[Outcome, list[str]]:
    told: list[str] = []
    outcome = await drain(cast("Client", api), list(namespaces), seconds, told.append)
    return outcome, told


SANDBOX = f"{_ROOT}/namespaces/a/sandboxes/x"
POOL = f"{_ROOT}/namespaces/a/sandboxpools/x"


async def test_sandboxes_go_before_the_pools_and_nothing_is_left() -> None:
    api = Api()
    assert (await run(api))[0] == Outcome()
    assert api.objects == {}
    assert [path.split("/")[-2] for path in api.deleted] == ["sandboxes"] * 2 + ["sandboxpools"] * 2


async def test_other_namespaces_are_left_alone() -> None:
    api = Api()
    assert (await run(api, "a"))[0] == Outcome()
    assert {path.split("/")[5] for path in api.objects} == {"b"}
    assert len(api.objects) == 2


@pytest.mark.parametrize("path", [SANDBOX, POOL])
async def test_a_finalizer_of_others_keeps_nobody_waiting_and_is_told(path: str) -> None:
    api = Api()
    api.hold(path)
    outcome, told = await run(api)
    assert outcome.left == ()
    assert api.patched == []
    (sentence,) = outcome.held
    assert "a/x is gone but for finalizers of others: example.com/hold" in sentence
    assert sentence in told
    assert api.objects.keys() == {path}
    assert api.objects[path]["metadata"]["finalizers"] == [HOLD]


@pytest.mark.parametrize("path", [SANDBOX, POOL])
@pytest.mark.parametrize("resource", ["pods", "persistentvolumeclaims"])
async def test_what_has_ended_and_others_hold_is_let_go(path: str, resource: str) -> None:
    if (path, resource) == (POOL, "persistentvolumeclaims"):
        return
    api = Api()
    api.leave(path, resource)
    outcome, _ = await run(api)
    assert api.objects == {}
    assert outcome.left == ()
    (sentence,) = outcome.held
    assert "is let go" in sentence
    assert f"a/left by {HOLD}" in sentence


async def test_what_others_hold_on_both_sides_has_nothing_of_ours_left() -> None:
    api = Api()
    api.hold(SANDBOX)
    api.leave(SANDBOX)
    api.conflicts = 1
    outcome, _ = await run(api)
    assert api.objects[SANDBOX]["metadata"]["finalizers"] == [HOLD]
    assert outcome.left == ()
    assert len(outcome.held) == 2


@pytest.mark.parametrize(
    "changes", [{"status_phase": "Running"}, {"metadata_finalizers": []}, {"metadata_finalizers": ["kubernetes.io/x"]}]
)
async def test_what_may_still_run_is_not_let_go(changes: dict[str, Any]) -> None:
    api = Api()
    api.leave(SANDBOX, **changes)
    outcome, _ = await run(api)
    assert outcome.held == ()
    assert outcome.left == ("Sandbox a/x, with Pod a/left",)
    assert api.objects.keys() == {SANDBOX}
    assert names.FINALIZER in api.objects[SANDBOX]["metadata"]["finalizers"]


async def test_what_the_operator_says_of_a_teardown_is_told_while_it_waits() -> None:
    api = Api()
    api.leave(SANDBOX)
    stuck = {
        "type": "TeardownStuck",
        "status": "True",
        "message": "pod left has finalizers of others: example.com/hold",
    }
    api.objects[SANDBOX]["status"] = {"conditions": [stuck]}
    _, told = await run(api)
    assert "Sandbox a/x: pod left has finalizers of others: example.com/hold" in told


async def test_a_kind_that_is_not_served_has_no_objects_and_any_other_refusal_is_an_error() -> None:
    api = Api()
    api.refusals = {"sandboxes": 404}
    await run(api)
    assert {path.split("/")[-2] for path in api.deleted} == {"sandboxpools"}
    api.refusals = {"sandboxes": 403}
    with pytest.raises(errors.ApiError):
        await run(api)


@pytest.mark.parametrize("how", ["gone", "another"])
async def test_what_goes_or_is_made_anew_while_it_is_let_go_is_left_alone(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api()
    api.leave(SANDBOX)

    async def refuse(path: str, _body: dict[str, Any]) -> None:
        if how == "gone":
            del api.objects[path]
            raise errors.ApiError(404, {"message": "not found"})
        metadata = {**api.objects[path]["metadata"], "uid": "another"}
        del metadata["deletionTimestamp"]
        api.objects[path] = {"metadata": metadata}
        raise errors.ApiError(409, {"message": "changed", "reason": "Conflict"})

    monkeypatch.setattr(api, "merge_patch", refuse)
    outcome, _ = await run(api)
    assert api.patched == []
    assert outcome.left == ()
    assert (SANDBOX in api.objects) is (how == "another")


async def test_a_refusal_to_let_go_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    api.leave(SANDBOX)

    async def refuse(_path: str, _body: dict[str, Any]) -> None:
        raise errors.ApiError(403, {"message": "no"})

    monkeypatch.setattr(api, "merge_patch", refuse)
    with pytest.raises(errors.ApiError):
        await run(api)
