"""A cluster as a test sees it: its objects, conditions to wait for, and kubectl where kubectl itself matters."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from localcluster import tools
from tests.support import api, manifests
from tests.support.api import NotThere, Refused

__all__ = ["Kube", "NotThere", "Refused", "holds", "until", "wait_for_api"]

T = TypeVar("T")
_PROGRAMS = {"kubectl": "kubernetes", "helm": "helm", "helm3": "helm3"}
_LOOK_SECONDS = 0.05


def until(what: str, check: Callable[[], T], timeout: float = 60, interval: float = 0.1) -> T:
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
    """One cluster and, mostly, one namespace of it, as the administrator or as *user*.

    What tests do and look at many times goes to the API server directly. `kubectl`, `run` and `environment` are for
    tests of what kubectl and helm say and do.
    """

    kubeconfig: pathlib.Path
    namespace: str = "default"
    user: str = ""

    def within(self, namespace: str) -> Kube:
        """The same cluster, another namespace."""
        return replace(self, namespace=namespace)

    def as_user(self, user: str) -> Kube:
        """The same namespace, with another user's rights."""
        return replace(self, user=user)

    # kubectl and helm

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which kubectl, and helm where it has been built, find this cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": _search_path("kubectl")}

    def run(self, *command: str, stdin: str | None = None, timeout: float = 180) -> str:
        """Run a program against this cluster."""
        environment = {**self.environment, "PATH": _search_path(command[0])}
        done = subprocess.run(
            command, env=environment, input=stdin, text=True, capture_output=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise Refused(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        """Run kubectl in this namespace."""
        who = [f"--as={self.user}"] if self.user else []
        return self.run("kubectl", f"--namespace={self.namespace}", *who, *arguments, stdin=stdin, timeout=timeout)

    # The API

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Send one request; see `tests.support.api.Api.request`."""
        return api.of(self.kubeconfig).request(method, path, body, user=self.user, **options)

    def path(self, kind: str, name: str | None = None, subresource: str = "") -> str:
        """Path of an object of this namespace, or of a collection."""
        return api.of(self.kubeconfig).kind(kind).path(self.namespace, name, subresource)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply *objects* in this namespace, by server-side apply, as GitOps tools do."""
        for item in objects:
            self._apply(item, self.namespace)

    def apply_as_is(self, *objects: dict[str, Any]) -> None:
        """Apply objects that name their own namespaces."""
        for item in objects:
            self._apply(item, item["metadata"].get("namespace", self.namespace))

    def create(self, *objects: dict[str, Any], dry_run: bool = False) -> None:
        """Create *objects* in this namespace; with *dry_run* the server does everything but to keep them."""
        for item in objects:
            kind = self._kind_of(item)
            body = _named_here(item, self.namespace if kind.namespaced else "")
            self.request("POST", kind.path(self.namespace), body, params=_strict(dry_run))

    def make_namespace(self, name: str) -> None:
        """Make a namespace."""
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def patch(self, kind: str, name: str, change: dict[str, Any], subresource: str = "") -> dict[str, Any]:
        """Change an object by a merge patch."""
        changed: dict[str, Any] = self.request("PATCH", self.path(kind, name, subresource), change,
                                               content_type="application/merge-patch+json",
                                               params={"fieldValidation": "Strict"})  # fmt: skip
        return changed

    def annotate(self, kind: str, name: str, key: str, value: str) -> None:
        """Put one annotation on an object."""
        self.patch(kind, name, {"metadata": {"annotations": {key: value}}})

    def scale(self, kind: str, name: str, replicas: int) -> None:
        """Change the number of replicas through the scale subresource."""
        self.patch(kind, name, {"spec": {"replicas": replicas}}, "scale")

    def refused(self, obj: dict[str, Any]) -> str:
        """What the API server says to *obj*; an assertion if it would take it. Nothing is left either way."""
        try:
            self.create(obj, dry_run=True)
        except Refused as error:
            return str(error)
        raise AssertionError(f"taken: {obj}")

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object; None if it is not there."""
        try:
            found: dict[str, Any] = self.request("GET", self.path(kind, name))
        except NotThere:
            return None
        return found

    def list(self, kind: str, selector: str = "", *, everywhere: bool = False) -> list[dict[str, Any]]:
        """All objects of a kind, or of several with commas between them."""
        params = {"labelSelector": selector} if selector else None
        found = []
        for name in kind.split(","):
            known = api.of(self.kubeconfig).kind(name)
            reply = self.request("GET", known.path(None if everywhere else self.namespace), params=params)
            # In a list the server leaves out of each object what all of them have in common.
            found += [{"apiVersion": known.api_version, "kind": known.kind, **item} for item in reply["items"]]
        return found

    def delete(self, kind: str, *names: str, wait: bool = True, timeout: float = 60, force: bool = False) -> None:
        """Delete objects, or with ``--all`` all of a kind; with *wait* return when they are gone.

        With *force* a pod goes without waiting for its node.
        """
        options: dict[str, Any] = {"propagationPolicy": "Background", **({"gracePeriodSeconds": 0} if force else {})}
        left: dict[str, str] = {}
        for one in kind.split(","):
            for name in [item["metadata"]["name"] for item in self.list(one)] if names == ("--all",) else names:
                try:
                    reply = self.request("DELETE", self.path(one, name), options)
                except NotThere:
                    continue
                # What is gone at once is answered by a Status, with the UID in its details.
                uid = reply["metadata"].get("uid") or reply.get("details", {}).get("uid", "")
                left[self.path(one, name)] = uid

        def gone() -> bool:
            while left:
                path, uid = next(iter(left.items()))
                if self._is(path, uid):
                    return False
                del left[path]
            return True

        if wait:
            until(f"{kind} {' '.join(names)} gone", gone, timeout, _LOOK_SECONDS)

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Status of an object, {} if there is none."""
        return (self.get(kind, name) or {}).get("status") or {}

    def wait_for(self, kind: str, name: str, condition: str, timeout: float = 60) -> dict[str, Any]:
        """Wait for a condition as `kubectl wait` does: one of an older generation does not count. The status."""

        def met() -> dict[str, Any] | None:
            found = self.request("GET", self.path(kind, name))
            status: dict[str, Any] = found.get("status") or {}
            generation = found["metadata"].get("generation", 0)
            for item in status.get("conditions") or ():
                seen = item.get("observedGeneration", status.get("observedGeneration", generation))
                if item["type"] == condition and item["status"] == "True" and seen >= generation:
                    return status
            return None

        try:
            return until(f"{kind}/{name} {condition}", met, timeout, _LOOK_SECONDS) or {}
        except NotThere:
            raise
        except AssertionError as error:
            raise Refused(f"{error}; {self.status(kind, name)}") from None

    def wait_reason(self, kind: str, name: str, condition: str, reasons: Iterable[str], timeout: float) -> str:
        """Wait until *condition* has one of *reasons*; returns its message."""
        wanted = set(reasons)

        def check() -> str | None:
            found = self.condition(kind, name, condition)
            return (found["message"] or " ") if found and found["reason"] in wanted else None

        return until(f"{kind}/{name} {condition} for {wanted}", check, timeout, _LOOK_SECONDS) or ""

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any] | None:
        """One condition of an object."""
        conditions = self.status(kind, name).get("conditions") or []
        return next((c for c in conditions if c["type"] == condition), None)

    def may(self, user: str, verb: str, resource: str) -> bool:
        """Whether *user* may do *verb* to ``resource`` or ``resource/subresource`` of this namespace.

        Raises
        ------
        Refused
            The server has no such resource, or could not decide.
        """
        plural, _, subresource = resource.partition("/")
        # What is impersonated is no resource that can be read.
        kind = None if verb == "impersonate" else api.of(self.kubeconfig).kind(plural)
        if kind is not None and subresource and subresource not in kind.subresources:
            raise Refused(f"{plural} have no {subresource}")
        asked = {
            "namespace": self.namespace if kind is not None and kind.namespaced else "",
            "verb": verb, "group": kind.group if kind else "", "resource": plural, "subresource": subresource,
        }  # fmt: skip
        groups = ["system:authenticated"]
        if user.startswith("system:serviceaccount:"):
            groups += ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}"]
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": asked},
        }  # fmt: skip
        status = self.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]
        if status.get("evaluationError"):
            raise Refused(status["evaluationError"])
        return bool(status["allowed"])

    def _apply(self, item: dict[str, Any], namespace: str) -> None:
        kind = self._kind_of(item)
        params = {"fieldManager": "tests", "force": "true", "fieldValidation": "Strict"}
        self.request("PATCH", kind.path(namespace, item["metadata"]["name"]),
                     _named_here(item, namespace if kind.namespaced else ""),
                     content_type="application/apply-patch+yaml", params=params)  # fmt: skip

    def _kind_of(self, item: dict[str, Any]) -> api.Kind:
        group = item["apiVersion"].rpartition("/")[0]
        return api.of(self.kubeconfig).kind(f"{item['kind']}.{group}")

    def _is(self, path: str, uid: str) -> bool:
        """Whether the very object is still there; one of the same name made since is another."""
        try:
            found = self.request("GET", path)
        except NotThere:
            return False
        return not uid or bool(found["metadata"]["uid"] == uid)


def _named_here(item: dict[str, Any], namespace: str) -> dict[str, Any]:
    if not namespace:
        return item
    return {**item, "metadata": {**item["metadata"], "namespace": namespace}}


def _strict(dry_run: bool) -> dict[str, str]:
    return {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}


@functools.cache
def _search_path(program: str) -> str:
    """PATH for *program*; builds it if it is one of ours and has not been built."""
    groups = dict.fromkeys(["kubernetes", _PROGRAMS.get(program, "kubernetes")])
    built = [name for name in ("helm", "helm3") if tools.built(name)]
    return tools.search_path([*dict.fromkeys([*groups, *built])])


def wait_for_api(kube: Kube) -> None:
    """New kinds reach the API server's admission some seconds after they are established."""

    def taken() -> bool:
        try:
            kube.create(manifests.pool("probe"), dry_run=True)
        except Refused as error:
            assert "There can be a delay" in str(error) or "resource type" in str(error), error
            return False
        return True

    until("new kinds are admitted", taken, 90)
    labels = {"sandyard.dev/state": "warm"}
    foreign = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "labels": labels},
               "spec": {"containers": [{"name": "c", "image": "a"}]}}  # fmt: skip

    def held() -> bool:
        """Policies take some seconds to hold, too."""
        try:
            kube.create(foreign, dry_run=True)
        except Refused as error:
            return "belong to the operator" in str(error)
        return False

    until("admission policies hold", held, 60)
