"""Generates the CustomResourceDefinitions from the pydantic models.

A structural schema forbids much of what pydantic writes (``$ref``, ``anyOf`` with null,
``const``, numeric ``exclusiveMinimum``, titles); `structural` rewrites it and refuses what
it does not know, so that nothing dubious reaches a cluster.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import pydantic
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from sandyard.api import names
from sandyard.api.model import ApiModel
from sandyard.api.pool import SandboxPool
from sandyard.api.sandbox import Sandbox

__all__ = ["definitions", "structural"]

_KEPT = {
    "description", "enum", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems",
    "minLength", "minimum", "pattern", "properties", "required", "type", "additionalProperties", "default",
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
}  # fmt: skip


class _Generator(GenerateJsonSchema):
    """Leaves null out of optional fields: in Kubernetes, absent is absent."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = super().default_schema(schema)
        if schema.get("default", ...) is None:
            inner.pop("default", None)
        # An object that is left out is filled with its own fields' defaults.
        if "default_factory" in schema:
            return {"allOf": [inner], "default": {}} if "$ref" in inner else {**inner, "default": {}}
        return inner


def structural(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """OpenAPI v3 structural schema of *model*.

    Raises
    ------
    ValueError
        The model uses something that a structural schema cannot say.
    """
    raw = model.model_json_schema(by_alias=True, schema_generator=_Generator, mode="validation")
    return _rewrite(raw, raw.get("$defs", {}), model.__name__)


def _rewrite(node: dict[str, Any], definitions_: dict[str, Any], where: str) -> dict[str, Any]:
    node = dict(node)
    for part in node.pop("allOf", []):
        node = {**part, **node}
    if "$ref" in node:
        target = definitions_[node.pop("$ref").rpartition("/")[2]]
        # What is said at the place of use goes before what the type says of itself.
        merged = {**target, **node}
        both = [*target.get("x-kubernetes-validations", []), *node.get("x-kubernetes-validations", [])]
        if both:
            merged["x-kubernetes-validations"] = both
        return _rewrite(merged, definitions_, where)
    node.pop("title", None)
    node.pop("$defs", None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
        node.setdefault("type", "string")
    if node.get("x-kubernetes-int-or-string"):
        node.pop("type", None)
    elif "type" not in node:
        raise ValueError(f"{where}: a structural schema needs a type, got {sorted(node)}")
    unknown = set(node) - _KEPT
    if unknown:
        raise ValueError(f"{where}: a structural schema has no {sorted(unknown)}")
    if "properties" in node:
        node.pop("additionalProperties", None)
        node["properties"] = {
            name: _rewrite(child, definitions_, f"{where}.{name}") for name, child in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = _rewrite(node["additionalProperties"], definitions_, f"{where}.*")
    if "items" in node:
        node["items"] = _rewrite(node["items"], definitions_, f"{where}[]")
    if "description" in node:
        node["description"] = inspect.cleandoc(node["description"]).replace("`", "")
    return node


def _column(name: str, path: str, kind: str = "string", description: str = "", priority: int = 0) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": description}
    if priority:
        column["priority"] = priority
    return column


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_SANDBOX_COLUMNS = [
    _column("Phase", ".status.phase", description="Where the sandbox is in its life."),
    _column("Reason", _condition("Reconciling", "reason"), description="Why it is as it is."),
    _column("Start", ".status.start", description="Warm from a pool, or Cold."),
    _column("Pool", ".spec.poolRef.name", description="Pool that it is taken from."),
    _column("Pod", ".status.podName", description="Its pod."),
    _column("Expires", ".status.expires", description="When it will expire (UTC)."),
    _column("Age", ".metadata.creationTimestamp", "date", "Time since it was made."),
    _column("Runtime", ".status.runtime", description="As proven from inside.", priority=1),
    _column("IP", ".status.podIP", description="Address of its pod.", priority=1),
    _column("Node", ".status.nodeName", description="Node that it runs on.", priority=1),
    _column("Message", _condition("Reconciling", "message"), description="Why, in a sentence.", priority=1),
]
_POOL_COLUMNS = [
    _column("Desired", ".spec.replicas", "integer", "Warm sandboxes to keep."),
    _column("Warm", ".status.replicas", "integer", "Warm sandboxes now."),
    _column("Starting", ".status.starting", "integer", "Pods on their way to warm."),
    _column("Claimed", ".status.claimed", "integer", "Pods that belong to a Sandbox."),
    _column("Ready", _condition("Ready", "status"), description="Whether it was filled and serves claims."),
    _column("Reason", _condition("Reconciling", "reason"), description="Why it is as it is."),
    _column("Age", ".metadata.creationTimestamp", "date", "Time since it was made."),
    _column("Max", ".spec.maxSandboxes", "integer", "Most pods at once.", priority=1),
    _column("Terminating", ".status.terminating", "integer", "Pods being deleted.", priority=1),
    _column("Image", ".spec.template.image", description="Image of the template.", priority=1),
    _column("Message", _condition("Reconciling", "message"), description="Why, in a sentence.", priority=1),
]


def definitions() -> dict[str, dict[str, Any]]:
    """Both CustomResourceDefinitions, by file name without its suffix."""
    sandbox = _definition(Sandbox, names.SANDBOX_KIND, names.SANDBOXES, "sbx", _SANDBOX_COLUMNS)
    pool = _definition(SandboxPool, names.POOL_KIND, names.POOLS, "sbxp", _POOL_COLUMNS)
    pool["spec"]["versions"][0]["subresources"]["scale"] = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    sandbox["spec"]["versions"][0]["selectableFields"] = [
        {"jsonPath": ".spec.poolRef.name"},
        {"jsonPath": ".status.phase"},
    ]
    return {names.SANDBOXES: sandbox, names.POOLS: pool}


def _definition(
    model: type[ApiModel], kind: str, plural: str, short: str, columns: list[dict[str, Any]]
) -> dict[str, Any]:
    schema = structural(model)
    schema["properties"] = {
        "apiVersion": {"type": "string", "description": "Version of the API, sandyard.dev/v1alpha1."},
        "kind": {"type": "string", "description": f"{kind}."},
        "metadata": {"type": "object"},
        "spec": schema["properties"]["spec"],
        # Defaults of a status hold from the first read on, before the operator has seen it.
        "status": {**schema["properties"]["status"], "default": {}},
    }
    schema["required"] = ["spec"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["sandyard"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": json.loads(json.dumps(schema))},
                    "subresources": {"status": {}},
                }
            ],
        },
    }
