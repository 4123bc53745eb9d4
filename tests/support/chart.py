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

__all__ = ["CHART", "one", "render", "rendered", "selected"]

CHART = paths.REPOSITORY / "charts" / "sandyard"
_MUTATING = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"

Object = dict[str, Any]


def render(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = "sandyard",
    namespace: str = "sandyard-system",
    api_versions: str = _MUTATING,
) -> list[Object]:
    """All objects of the chart, hooks too, with *values* (dots go into objects: ``{"policy.allowRoot": True}``).

    Raises
    ------
    AssertionError
        Helm refuses; the text is what it says.
    """
    text = rendered(json.dumps(values or {}), release, namespace, api_versions)
    return [item for item in yaml.load_all(text, yaml.CSafeLoader) if item]


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
