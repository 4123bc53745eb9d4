"""The chart as Helm renders it; no cluster is asked."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import yaml

from localcluster import paths, tools
from tests.support.control_plane import NEWEST

__all__ = ["CHART", "REPOSITORY", "SERVED", "environment", "one", "render", "rendered", "rules", "selected", "verbs"]

# The operator's image, in tests that start none.
REPOSITORY = "sandyard/operator"
CHART = paths.REPOSITORY / "charts" / "sandyard"
# What the API server of these tests serves beyond what Helm knows of.
SERVED = "admissionregistration.k8s.io/v1/" + ("MutatingAdmissionPolicy" if NEWEST else "ValidatingAdmissionPolicy")

# (group, resource, verb)
Rules = set[tuple[str, str, str]]
Object = dict[str, Any]


def render(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = "sandyard",
    namespace: str = "sandyard-system",
    api_versions: str = SERVED,
) -> list[Object]:
    """All objects of the chart, hooks too, with *values* (dots go into objects: ``{"policy.allowRoot": True}``).

    Raises
    ------
    AssertionError
        Helm refuses; the text is what it says.
    """
    text = rendered(json.dumps(_with_an_image(values or {})), release, namespace, api_versions)
    return [item for item in yaml.load_all(text, yaml.CSafeLoader) if item]


def _with_an_image(values: Mapping[str, Any]) -> dict[str, Any]:
    """The chart needs an image's name; *values* may have another."""
    named = "image.repository" in values or "repository" in values.get("image", {})
    return dict(values) if named else {"image.repository": REPOSITORY, **values}


@functools.cache
def rendered(values: str, release: str, namespace: str, api_versions: str) -> str:
    """The text of `render`; *values* as JSON."""
    changes = [f"--set-json={key}={json.dumps(value)}" for key, value in json.loads(values).items()]
    folder = tools.ensure(["helm"])["helm"]
    done = subprocess.run(
        [str(folder / "helm"), "template", release, str(CHART), f"--namespace={namespace}",
         f"--api-versions={api_versions}", *changes],
        env={**os.environ, "KUBECONFIG": "/dev/null"}, text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def selected(objects: list[Object], kind: str, name: str = "", namespace: str | None = None) -> list[Object]:
    """Those of a kind (and a name, and a namespace)."""
    return [
        item
        for item in objects
        if item["kind"] == kind
        and (not name or item["metadata"]["name"] == name)
        and (namespace is None or item["metadata"].get("namespace") == namespace)
    ]


def one(objects: list[Object], kind: str, name: str = "", namespace: str | None = None) -> Object:
    """The only one of them."""
    (found,) = selected(objects, kind, name, namespace)
    return found


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    """What the operator's container is given, but for what it learns of its pod."""
    container = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return {item["name"]: item["value"] for item in container["env"] if "value" in item}


def rules(role: dict[str, Any]) -> Rules:
    """(group, resource, verb), with the names that a rule is bound to."""
    found: Rules = set()
    for rule in role["rules"]:
        names = f"={','.join(rule['resourceNames'])}" if "resourceNames" in rule else ""
        assert set(rule) <= {"apiGroups", "resources", "verbs", "resourceNames"}
        found |= {(group, resource + names, verb) for group in rule["apiGroups"] for resource in rule["resources"]
                  for verb in rule["verbs"]}  # fmt: skip
    return found


def verbs(group: str, resource: str, *words: str) -> Rules:
    """Rights to do *words* to one resource."""
    return {(group, resource, word) for word in words}
