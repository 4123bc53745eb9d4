"""A cluster as a test sees it: kubectl, and conditions to wait for."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from localcluster import tools
from tests.support import manifests

__all__ = ["Kube", "Refused", "holds", "until", "wait_for_api"]

T = TypeVar("T")


class Refused(AssertionError):
    """kubectl ended with an error; the text is what it said."""


def until(what: str, check: Callable[[], T], timeout: float = 30, interval: float = 0.1) -> T:
    """Wait until *check* returns something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(interval)


def holds(what: str, check: Callable[[], bool], seconds: float, interval: float = 0.2) -> None:
    """See that *check* stays true: for what must not happen, where nothing tells that it will not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert check(), f"{what}: no longer so"
        time.sleep(interval)


@dataclass(frozen=True)
class Kube:
    """kubectl with one kubeconfig and, mostly, one namespace."""

    kubeconfig: pathlib.Path
    namespace: str = "default"

    def within(self, namespace: str) -> Kube:
        """The same cluster, another namespace."""
        return Kube(self.kubeconfig, namespace)

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which kubectl and helm find this cluster."""
        folders = tools.ensure(["kubernetes", "helm", "helm3"]).values()
        path = os.pathsep.join([*(str(folder) for folder in folders), os.environ["PATH"]])
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def run(self, *command: str, stdin: str | None = None, timeout: float = 180) -> str:
        """Run a program against this cluster."""
        done = subprocess.run(
            command, env=self.environment, input=stdin, text=True, capture_output=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise Refused(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        """Run kubectl in this namespace."""
        return self.run("kubectl", f"--namespace={self.namespace}", *arguments, stdin=stdin, timeout=timeout)

    def apply(self, *objects: dict[str, Any]) -> None:
        """`kubectl apply` all of *objects* at once."""
        self.kubectl("apply", "-f", "-", stdin=_list(objects))

    def apply_as_is(self, *objects: dict[str, Any]) -> None:
        """`kubectl apply` objects that name their own namespaces."""
        self.run("kubectl", "apply", "-f", "-", stdin=_list(objects))

    def create(self, *objects: dict[str, Any]) -> None:
        """`kubectl create` all of *objects* at once."""
        self.kubectl("create", "-f", "-", stdin=_list(objects))

    def refused(self, obj: dict[str, Any]) -> str:
        """What the API server says when *obj* is applied; an assertion if it takes it."""
        try:
            self.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
        except Refused as error:
            return str(error)
        raise AssertionError(f"taken: {obj}")

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object; None if it is not there."""
        text = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, selector: str = "", *, everywhere: bool = False) -> list[dict[str, Any]]:
        """All objects of a kind."""
        arguments = ["get", kind, "-o", "json"]
        if selector:
            arguments += ["-l", selector]
        if everywhere:
            arguments.append("--all-namespaces")
        return json.loads(self.kubectl(*arguments))["items"]

    def delete(self, kind: str, *names: str, wait: bool = True, timeout: float = 60) -> None:
        """Delete objects; with *wait* return when they are gone."""
        extra = ("--wait=true", f"--timeout={timeout}s") if wait else ("--wait=false",)
        self.kubectl("delete", kind, *names, "--ignore-not-found", *extra, timeout=timeout + 30)

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Status of an object, {} if there is none."""
        return (self.get(kind, name) or {}).get("status") or {}

    def wait_for(self, kind: str, name: str, condition: str, timeout: float = 60) -> dict[str, Any]:
        """`kubectl wait` for a condition; returns the status."""
        wait = ("wait", f"--for=condition={condition}", f"{kind}/{name}", f"--timeout={timeout}s")
        self.kubectl(*wait, timeout=timeout + 30)
        return self.status(kind, name)

    def wait_reason(self, kind: str, name: str, condition: str, reasons: Iterable[str], timeout: float) -> str:
        """Wait until *condition* has one of *reasons*; returns its message."""
        wanted = set(reasons)

        def check() -> str | None:
            found = self.condition(kind, name, condition)
            return (found["message"] or " ") if found and found["reason"] in wanted else None

        return until(f"{kind}/{name} {condition} for {wanted}", check, timeout)

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any] | None:
        """One condition of an object."""
        conditions = self.status(kind, name).get("conditions") or []
        return next((c for c in conditions if c["type"] == condition), None)


def wait_for_api(kube: Kube) -> None:
    """New kinds reach the API server's admission some seconds after they are established."""

    def taken() -> bool:
        try:
            kube.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifests.pool("probe")))
        except Refused as error:
            assert "There can be a delay" in str(error), error
            return False
        return True

    until("new kinds are admitted", taken, 90, interval=1)
    labels = {"sandyard.dev/state": "warm"}
    foreign = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "labels": labels},
               "spec": {"containers": [{"name": "c", "image": "a"}]}}  # fmt: skip

    def held() -> bool:
        """Policies take some seconds to hold, too."""
        try:
            kube.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(foreign))
        except Refused as error:
            return "belong to the operator" in str(error)
        return False

    until("admission policies hold", held, 60, interval=0.5)


def _list(objects: Iterable[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
