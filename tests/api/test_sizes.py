"""What the API server takes of a Sandbox gives a pod that it takes too: whatever is drawn from the schema's bounds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandyard.api import crd, names
from sandyard.api.sandbox import SandboxSpec
from sandyard.podspec import bound_table
from sandyard.podspec import pod as podspec
from sandyard.podspec.bounds import Bounds
from tests.support import admission, manifests
from tests.support.admission import OPERATOR, PROBE, SOMEBODY, World
from tests.support.kube import Kube, Refused


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    yield from admission.world(admin)


# Drawing objects

_SPEC = crd.definitions()[names.SANDBOXES]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
_SIZES: list[Any] = [
    "0", "1m", "10m", "100m", "1", 2, "1Mi", "16Mi", "64Mi", 33554432, "0.5Gi", "1.5Gi", "1e3", "1e9", "1G",
    "17000000000m", "1Gi", "100Gi", "64Ti", "1e30", ".5", "1.",
]  # fmt: skip
_BY_NAME: dict[str, list[Any]] = {
    "cidr": ["1.1.1.1/32", "198.51.100.0/24", "2001:db8::/32", "10.0.0.0/8"],
    "nameservers": ["1.1.1.1", "2606:4700::1111", "10.0.0.1"],
    "deadline": ["2030-01-31T12:00:00Z", "2030-01-31T12:00:00.123+01:00"],
    "runtimeClassName": ["gvisor"],
    # Admission plugins look for these.
    "priorityClassName": ["none"],
}
# Characters at the edges of what is text, some of more than one byte.
_CHARACTERS = " !$(){}\"'\\/~\t\n\r\x00\x1b\x7f\x80\x9b\xa0éß한🐍\ud7ff\ue000"


def drawn(schema: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Values that *schema* seems to let through: its bounds are met and sometimes missed, its CEL rules not known."""
    if name in _BY_NAME and schema.get("type") == "string":
        return st.sampled_from(_BY_NAME[name])
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from(_SIZES)
    kinds = {"object": _object, "array": _array, "string": _string, "integer": _integer}
    return kinds[schema["type"]](schema, name) if schema["type"] in kinds else st.booleans()


def _object(schema: dict[str, Any], name: str) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        keys = st.sampled_from(
            ["a", "example.com/a", f"{'d.' * 126}e/{'n' * 63}", f"{'d' * 254}/n", "a" * 64, "A.b_c-d"]
        )
        return st.dictionaries(keys, drawn(schema["additionalProperties"], name), max_size=3)
    fields = {key: drawn(child, key) for key, child in schema["properties"].items() if key != "poolRef"}
    required = {key: value for key, value in fields.items() if key in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional={k: v for k, v in fields.items() if k not in required})


def _array(schema: dict[str, Any], name: str) -> st.SearchStrategy[Any]:
    return st.lists(drawn(schema["items"], name), min_size=schema.get("minItems", 0), max_size=2)


def _string(schema: dict[str, Any], name: str) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    most = schema["maxLength"]
    pattern = schema.get("pattern", "")
    if pattern and "x00" not in pattern:
        edges = [
            text for text in ("a" * most, "a" * (most + 1), ".", "..", "..a", ".a", "_", "/", "") if name != "image"
        ]
        return st.one_of(st.from_regex(pattern, fullmatch=True), st.sampled_from([*edges, "a"]))
    return st.one_of(st.text(_CHARACTERS, max_size=12), st.sampled_from(["x" * most, "🐍" * most, "$(" * (most // 2)]))


def _integer(schema: dict[str, Any], name: str) -> st.SearchStrategy[Any]:
    least, most = schema.get("minimum", 0), schema.get("maximum", 2**31 - 1)
    return st.one_of(st.sampled_from([least, most]), st.integers(least, most))


_TEMPLATE = _SPEC["properties"]["template"]
# One part of a template or two, whole; most of what is drawn for all parts at once breaks some rule.
_PARTS = st.fixed_dictionaries(
    {}, optional={key: drawn(child, key) for key, child in _TEMPLATE["properties"].items() if key != "image"}
)
_PART = st.sampled_from(sorted(set(_TEMPLATE["properties"]) - {"image"})).flatmap(
    lambda key: st.fixed_dictionaries({key: drawn(_TEMPLATE["properties"][key], key)})
)
# As wide as the chart's bounds in these tests.
_ANY = ("public", "0.0.0.0/0", "::/0")
_WIDE = Bounds(cidrs=_ANY, nameservers=_ANY, ingress_namespaces=("*",))
_ENV = st.one_of(st.none(), drawn(_SPEC["properties"]["env"], "env"))


def pod_of(made: dict[str, Any], name: str) -> dict[str, Any]:
    """The pod that the operator makes for an accepted Sandbox."""
    spec = SandboxSpec.model_validate(made["spec"])
    assert spec.template is not None
    owner = podspec.Owner(names.SANDBOX_KIND, made["metadata"]["name"], "11111111-1111-1111-1111-111111111111")
    pod = podspec.build(spec.template, name=name, namespace="", owner=owner, probe=PROBE, sandbox=owner,
                        env=spec.env or ())  # fmt: skip
    del pod["metadata"]["ownerReferences"]
    return pod


def test_what_is_taken_of_a_template_gives_a_pod_that_is_taken(world: World) -> None:
    taken: list[dict[str, Any]] = []

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.one_of(_PART, _PART, _PARTS), _ENV)
    def draw(part: dict[str, Any], env: Any) -> None:
        made = manifests.sandbox("drawn", template={"image": "a", **part}, **({"env": env} if env else {}))
        sent = copy.deepcopy(made)
        try:
            world.admin.create(sent, dry_run=True)
        except Refused:
            return
        taken.append(part)
        if "priorityClassName" in part:
            # Whether there is one, the API server says when the pod is made.
            return
        filled = SandboxSpec.model_validate(made["spec"]).model_dump(mode="json", by_alias=True, exclude_none=True)
        assert bound_table.beyond(filled, _WIDE) == []
        world.create(OPERATOR, pod_of(made, "drawn"))

    draw()
    assert len(taken) > 60, f"only {len(taken)} were taken"
    kinds = {key for part in taken for key in part}
    assert len(kinds) > 15, kinds


KIB = 1024


def _env(total: int) -> list[dict[str, str]]:
    """An environment of *total* bytes."""
    count = 4
    names_ = [f"V{number}" for number in range(count)]
    share = (total - sum(map(len, names_))) // count
    sizes = [share] * (count - 1) + [total - sum(map(len, names_)) - share * (count - 1)]
    return [
        {"name": name, "value": "$(" * (size // 2) + "x" * (size % 2)} for name, size in zip(names_, sizes, strict=True)
    ]


def _words(total: int, of: int) -> list[str]:
    return ["x" * of] * (total // of)


LARGEST: dict[str, Any] = {
    "env": _env(96 * KIB),
    "command": _words(64 * KIB, 4096),
    "args": _words(64 * KIB, 4096),
    "setup": {"command": _words(96 * KIB, 32768)},
}


def test_the_largest_sandbox_gives_a_pod_that_fits(world: World) -> None:
    """Created for real: a dry run does not ask etcd."""
    made = manifests.sandbox("largest", template={"image": "a", **LARGEST}, env=[
        {"name": f"S{item['name']}", "value": item["value"][:-1]} for item in _env(96 * KIB)])  # fmt: skip
    world.admin.create(copy.deepcopy(made))
    pod = pod_of(made, "largest")
    world.admin.as_user(OPERATOR).create(pod)
    # No block of words or variables is more than the kernel takes of one.
    for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]):
        assert all(len(f"{item['name']}={item['value']}".replace("$$", "$").encode()) < 128 * KIB
                   for item in container.get("env", ()))  # fmt: skip
    world.admin.delete("pod", "largest", wait=False, force=True)
    world.admin.as_user(OPERATOR).patch("sandbox", "largest", {"metadata": {"finalizers": None}})
    world.admin.delete("sandbox", "largest", wait=False)


def own(**template: Any) -> dict[str, Any]:
    return manifests.sandbox("x", template={"image": "a", **template})


def carrying(**metadata: Any) -> dict[str, Any]:
    made = manifests.sandbox("x", "python")
    return {**made, "metadata": {**made["metadata"], **metadata}}


_OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a"}


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (own(env=_env(96 * KIB + 1)), "spec.template.env: Invalid value: an environment must have at most 96 KiB"),
        (own(env=[{"name": "A", "value": "🐍" * 25000}]), "an environment must have at most 96 KiB"),
        (manifests.sandbox("x", "python", env=_env(96 * KIB + 1)), "spec.env"),
        (own(command=[*LARGEST["command"], "x"]), "spec.template.command"),
        (own(args=[*LARGEST["command"], "x"]), "spec.template.args"),
        (own(setup={"command": [*LARGEST["setup"]["command"], "x"]}), "spec.template.setup.command"),
        (own(annotations={f"a{number}": "x" * 4096 for number in range(32)}), "annotations must have at most 128 KiB"),
        (own(annotations={"a": "\x1b[2J"}), "spec.template.annotations.a"),
        (own(env=[{"name": "A", "value": "\x1b[2J"}]), "spec.template.env[0].value"),
        (own(command=["\x07"]), "spec.template.command[0]"),
        (own(command=["\x9b2J"]), "spec.template.command[0]"),
        (own(env=[{"name": "A", "value": "\x85"}]), "spec.template.env[0].value"),
        (own(workingDir="/a\x9b2J"), "spec.template.workingDir"),
        (carrying(annotations={"a": "\x9b2J"}), "metadata.annotations: must be text"),
        (own(args=["\x00"]), "spec.template.args[0]"),
        (own(tolerations=[{"key": "a", "operator": "Exists", "tolerationSeconds": 5}]), "needs effect NoExecute"),
        (own(tolerations=[{"key": f"{'d' * 254}/a", "operator": "Exists"}]), "must be a label key"),
        (own(nodeSelector={f"{'d' * 254}/a": "x"}), "keys must be label keys"),
        (own(resources={"memory": "1e30"}), "a quantity from 16Mi to 16Ti"),
        (own(resources={"cpu": "0"}), "a quantity from 10m to 1k"),
        (own(resources={"cpu": "-1"}), "spec.template.resources.cpu"),
        *((own(env=[{"name": name}]), "spec.template.env[0].name") for name in (".", "..", "..a", "a=b", "é")),
        (manifests.pool("x", 1, {"image": "a"}, warm={"probe": {"command": ["x" * 4096] * 9}}), "a probe must have"),
        (carrying(labels={f"l{number}": "x" for number in range(5000)}), "metadata.labels: must be at most 64"),
        (carrying(annotations={f"a{number}": "x" for number in range(65)}), "metadata.annotations: must be at most 64"),
        (carrying(annotations={"a": "\x1b[2J"}), "metadata.annotations: must be text"),
        (carrying(annotations={"a": "\x00"}), "metadata.annotations: must be text"),
        (carrying(finalizers=[f"example.com/{number}" for number in range(16)]),
         "metadata.finalizers: must be at most 16"),
        (carrying(ownerReferences=[{**_OWNER, "uid": f"u{number}"} for number in range(17)]),
         "metadata.ownerReferences: must be at most 16"),
    ],
)  # fmt: skip
def test_what_could_not_work_is_refused_by_its_size_or_its_characters(
    world: World, made: dict[str, Any], told: str
) -> None:
    assert told in world.admin.refused(made)


@pytest.mark.parametrize(
    "made",
    [
        own(env=[{"name": ".a", "value": "a\tb\nc\r\n"}, {"name": "_", "value": "é🐍\u200b"}]),
        own(command=["sh", "-c", "echo a\n\techo b"]),
        own(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]),
        carrying(labels={f"l{number}": "x" for number in range(64)}, annotations={"a": '{"b": "c"}\n'}),
    ],
    ids=["text", "script", "toleration", "carried"],
)
def test_what_can_work_is_taken(world: World, made: dict[str, Any]) -> None:
    world.admin.create(made, dry_run=True)


def test_names_that_are_applied_under_leave_room_for_a_status(world: World) -> None:
    """Each of them keeps a list of its own in the object, which must fit into etcd with what the operator writes."""
    kube = world.admin.as_user(SOMEBODY)
    made = manifests.sandbox("applied", "python")

    def apply(number: int) -> None:
        made["metadata"]["labels"] = {"a": "b"}
        kube.request("PATCH", kube.path("sandboxes", "applied"), made, content_type="application/apply-patch+yaml",
                     params={"fieldManager": f"manager-{number}", "force": "true"})  # fmt: skip

    def most() -> int:
        for number in range(80):
            try:
                apply(number)
            except Refused as error:
                assert "managedFields: must be at most 64" in str(error)
                return number
        return 80

    assert 60 <= most() <= 64
    apply(0)
    world.admin.as_user(OPERATOR).patch("sandboxes", "applied", {"metadata": {"finalizers": None}})
    world.admin.delete("sandboxes", "applied", wait=False)
