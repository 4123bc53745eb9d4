"""A Sandbox is read, extended and deleted by its name alone, whatever its phase, as by a handle of it."""

from __future__ import annotations

import pathlib

import pytest

from sandyard.client import AsyncSandbox, Sandbox, errors
from tests.unit.local_pod import local_pod, serving

PHASES = ["Pending", "Ready", "Suspended", "Failed"]


class Mine(AsyncSandbox):
    """A program's own kind."""


@pytest.mark.parametrize("phase", PHASES)
async def test_by_name_it_is_read_extended_and_deleted_in_any_phase(phase: str) -> None:
    async with local_pod() as (pod, inside):
        pod.change(phase=phase, podName="")
        pod.forgets = True
        cluster = inside._session.cluster
        for kind in (AsyncSandbox, Mine):
            assert (await kind.get_info("s", cluster=cluster)).phase == phase
        await AsyncSandbox.set_timeout("s", 60, namespace="default", cluster=cluster)
        await AsyncSandbox.set_timeout("s", None, cluster=cluster)
        lifetimes = [body["spec"]["lifetime"] for method, _, body in pod.asked if method == "PATCH"]
        assert [bool(one["deadline"]) for one in lifetimes] == [True, False]
        assert await AsyncSandbox.kill("s", cluster=cluster)
        # The cluster is whose it was.
        assert not await AsyncSandbox.kill("s", wait=False, cluster=cluster)
        for call in (AsyncSandbox.get_info("s", cluster=cluster), AsyncSandbox.set_timeout("s", 5, cluster=cluster)):
            with pytest.raises(errors.SandboxNotFound):
                await call


async def test_it_is_deleted_by_what_it_was_when_it_was_read() -> None:
    """So that no other Sandbox goes, which has got its name meanwhile."""
    async with local_pod() as (pod, inside):
        await AsyncSandbox.kill("s", wait=False, cluster=inside._session.cluster)
        (asked,) = [body for method, _, body in pod.asked if method == "DELETE"]
        assert asked["preconditions"]["uid"] == "u"


async def test_what_is_no_name_is_refused() -> None:
    async with local_pod() as (pod, inside):
        cluster = inside._session.cluster
        for call in (AsyncSandbox.kill("a/b", cluster=cluster), AsyncSandbox.get_info("", cluster=cluster),
                     AsyncSandbox.set_timeout("s", -1, cluster=cluster), inside.kill(namespace="default"),
                     inside.get_info(cluster=cluster), inside.set_timeout(60, namespace="n")):  # fmt: skip
            with pytest.raises(errors.InvalidArgument):
                await call
        assert pod.asked == []
        assert not pod.deleted


def test_the_synchronous_face_does_so_too(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, monkeypatch) as pod:
        pod.forgets = True
        assert Sandbox.get_info("s").phase == "Ready"
        Sandbox.set_timeout("s", 60, namespace="default")
        with Sandbox.connect("s") as sandbox:
            assert sandbox.get_info().name == "s"
            sandbox.set_timeout(60)
            with pytest.raises(errors.InvalidArgument, match="namespace"):
                sandbox.kill(namespace="default")
        assert Sandbox.kill("s")
        assert not Sandbox.kill("s")
        with pytest.raises(errors.SandboxNotFound):
            Sandbox.get_info("s")
