"""Templates become pods: YAML in, YAML out, and rules that no template can break."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sandyard.api import names
from sandyard.api.template import Template
from sandyard.pod import labels as pod_labels
from sandyard.podspec import pod as podspec
from sandyard.podspec import rules
from tests.unit import objects

FOLDER = pathlib.Path(__file__).parent / "pods"
POOL = podspec.Owner("SandboxPool", "python", "pool-uid")
SANDBOX = podspec.Owner("Sandbox", "hello", "sandbox-uid")


def build(template: Template, **fields: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "name": "python-1", "namespace": "ns", "owner": POOL, "pool": POOL, "probe": objects.PROBE,
    }  # fmt: skip
    return podspec.build(template, **{**defaults, **fields})


LENIENT: Any = {"allow_root": True, "labels": ("team",), "annotations": ("example.com/",)}


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.input.yaml")))
def test_a_template_becomes_this_pod(name: str) -> None:
    template = Template.model_validate(yaml.safe_load((FOLDER / name).read_text()))
    expected = FOLDER / name.replace(".input.", ".output.")
    assert build(template) == yaml.safe_load(expected.read_text())


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.input.yaml")))
def test_every_pod_keeps_the_rules(name: str) -> None:
    template = Template.model_validate(yaml.safe_load((FOLDER / name).read_text()))
    assert rules.violations(build(template), objects.installation(**LENIENT)) == []


def test_a_cold_pod_belongs_to_its_sandbox_and_still_counts_for_the_pool() -> None:
    made = build(objects.template(), owner=SANDBOX, sandbox=SANDBOX)
    labels = made["metadata"]["labels"]
    assert labels[names.LABEL_STATE] == names.STATE_COLD
    assert labels[names.LABEL_SANDBOX_UID] == "sandbox-uid"
    assert labels[names.LABEL_POOL_UID] == "pool-uid"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "sandbox-uid"
    assert made["metadata"]["annotations"][names.ANNOTATION_SAFE_TO_EVICT] == "false"


def test_a_sandbox_of_its_own_template_carries_no_pool() -> None:
    made = build(objects.template(), owner=SANDBOX, sandbox=SANDBOX, pool=None)
    assert names.LABEL_POOL_UID not in made["metadata"]["labels"]


def test_a_sandboxs_environment_overrides_the_templates() -> None:
    template = objects.template(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}])
    made = build(template, env=objects.template(env=[{"name": "A", "value": "2"}]).env)
    env = {item["name"]: item["value"] for item in made["spec"]["containers"][0]["env"]}
    assert env["A"] == "2"
    assert env["B"] == "$$(A)", "Kubernetes would expand it"


@pytest.mark.parametrize(
    "change",
    [
        lambda pod: pod["metadata"]["labels"].update({names.LABEL_EGRESS: "Internet"}),
        lambda pod: pod["metadata"]["annotations"].update({names.ANNOTATION_SETUP: "open"}),
    ],
    ids=["open", "marked-as-open"],
)
def test_a_pod_without_a_setup_starts_closed(change: Any) -> None:
    made = build(objects.template())
    change(made)
    assert any("egress None" in violation for violation in rules.violations(made, objects.installation()))


def test_the_hash_follows_the_template_and_what_must_be_proven() -> None:
    base = podspec.template_hash(objects.template(), objects.PROBE)
    assert podspec.template_hash(objects.template(), objects.PROBE) == base
    assert podspec.template_hash(objects.template(image="other"), objects.PROBE) != base
    lax = podspec.Probe(image="x", pull_policy="Always", forbidden=(), network="BestEffort")
    assert podspec.template_hash(objects.template(), lax) != base


def test_a_proof_that_tries_its_node_is_told_where_it_is_and_others_have_no_variable() -> None:
    asking = podspec.Probe(image="operator:1", pull_policy="Always", forbidden=("10.96.0.1:443", "node:10250"))
    for probe, expected in ((objects.PROBE, []), (asking, ["status.hostIP"])):
        made = build(objects.template(), probe=probe)
        (proof,) = made["spec"]["initContainers"]
        assert [one["valueFrom"]["fieldRef"]["fieldPath"] for one in proof.get("env", [])] == expected
        assert rules.violations(made, objects.installation()) == []


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True))
def test_pod_names_are_host_names_whatever_the_owner_is_called(owner: str) -> None:
    name = podspec.pod_name(owner, "12345678")
    assert len(name) <= 63
    assert "." not in name
    assert name.endswith("-12345678")


def test_a_cold_pod_is_called_the_same_each_time_it_is_tried() -> None:
    assert podspec.cold_pod_name(SANDBOX) == podspec.cold_pod_name(SANDBOX)
    assert podspec.cold_pod_name(SANDBOX) != podspec.cold_pod_name(podspec.Owner("Sandbox", "hello", "other"))


def test_a_tenth_of_the_cpu_and_all_of_the_memory_is_set_aside() -> None:
    made = build(objects.template(resources={"cpu": "1500m", "memory": "1Gi"}))
    requests = made["spec"]["containers"][0]["resources"]["requests"]
    assert (requests["cpu"], requests["memory"]) == ("150m", "1Gi")


@pytest.mark.parametrize("image", ["python:3.11", f"registry.example/team/tools@sha256:{'0' * 64}"])
def test_the_scheduler_may_prefer_nodes_that_have_the_image(image: str) -> None:
    """Its plugin ImageLocality decides where nothing in the pod does, and nothing is pulled that is there."""
    spec = build(objects.template(image=image))["spec"]
    assert not {"nodeName", "affinity", "schedulerName", "topologySpreadConstraints", "schedulingGates"} & spec.keys()
    container = next(one for one in spec["containers"] if one["name"] == names.CONTAINER)
    assert container.get("imagePullPolicy") in (None, "IfNotPresent")


@pytest.mark.parametrize(
    ("memory", "request_", "proof"),
    [("1Gi", "256Mi", ("256Mi", "1Gi")), ("1Gi", None, ("1Gi", "1Gi")), ("64Mi", "16Mi", ("32Mi", "128Mi"))],
)
def test_the_proof_asks_for_no_less_than_what_it_proves(
    memory: str, request_: str | None, proof: tuple[str, str]
) -> None:
    requests = {"memory": request_} if request_ is not None else None
    made = build(objects.template(resources={"cpu": "1", "memory": memory, "requests": requests}))
    own = made["spec"]["initContainers"][0]["resources"]
    assert (own["requests"]["memory"], own["limits"]["memory"]) == proof
    assert own["requests"]["cpu"] == made["spec"]["containers"][0]["resources"]["requests"]["cpu"]


@pytest.mark.parametrize("own", [{"egress": "None"}, {"egress": "AllowList", "allow": [{"cidr": "198.51.100.0/24"}]}])
@pytest.mark.parametrize("egress", ["DNS", "Internet"])
def test_a_setup_finds_the_clusters_dns_whatever_the_template_may_reach(own: dict[str, Any], egress: str) -> None:
    template = objects.template(network=own, setup={"command": ["true"], "network": {"egress": egress}})
    labels = build(template)["metadata"]["labels"]
    assert labels[names.LABEL_EGRESS] == egress
    assert names.LABEL_ALLOW not in labels
    assert tuple(labels.get(key) for key in pod_labels.NETWORK) in pod_labels.free_networks(template)


TCP = {"cidr": "198.51.100.7/32", "ports": [{"port": 443}]}


@pytest.mark.parametrize(
    ("opened", "servers", "expected"),
    [
        ({"egress": "DNS"}, None, {"dns", "datagrams"}),
        ({"egress": "Internet"}, None, {"dns", "datagrams"}),
        ({"egress": "AllowList", "allow": [TCP]}, None, {"198.51.100.7:443"}),
        ({"egress": "AllowList", "allow": [TCP]}, ["192.0.2.53"], {"198.51.100.7:443", "dns", "datagrams"}),
        ({"egress": "AllowList", "allow": [{"cidr": "198.51.100.7/32"}]}, None, {"datagrams"}),
        (
            {"egress": "AllowList", "allow": [{**TCP, "ports": [{"port": 443, "protocol": "UDP"}]}]},
            None,
            {"datagrams"},
        ),
    ],
)
def test_what_a_setup_could_reach_is_proven_closed(
    opened: dict[str, Any], servers: list[str] | None, expected: set[str]
) -> None:
    dns = {"nameservers": servers} if servers else None
    made = build(objects.template(dns=dns, setup={"command": ["true"], "network": opened}))
    (closing,) = [one for one in made["spec"]["initContainers"] if one["name"] == names.CLOSED_CONTAINER]
    found = {word.partition("=")[2] for word in closing["command"] if word.startswith("--closed-again=")}
    assert found == expected


def test_a_setup_with_the_templates_own_network_needs_no_closing() -> None:
    network = {"egress": "Internet"}
    made = build(objects.template(network=network, setup={"command": ["true"], "network": network}))
    assert [item["name"] for item in made["spec"]["initContainers"]] == [names.PROBE_CONTAINER, names.SETUP_CONTAINER]
    assert made["metadata"]["labels"][names.LABEL_EGRESS] == names.EGRESS_NONE


@pytest.mark.parametrize("variable", ["BASH_ENV", "PIP_INDEX_URL", "https_proxy"])
def test_a_setup_with_a_network_of_its_own_has_no_variables_of_a_sandbox(variable: str) -> None:
    """They would make of the pool's command whatever they say, where a Sandbox must not reach."""
    own = objects.template(env=[{"name": variable, "value": "$(curl evil)"}]).env
    for egress, taken in (("", True), ("None", True), ("Internet", False), ("DNS", False)):
        setup = {"command": ["bash", "-c", "true"], **({"network": {"egress": egress}} if egress else {})}
        made = build(objects.template(env=[{"name": "OURS", "value": "1"}], setup=setup), env=own)
        (found,) = [one for one in made["spec"]["initContainers"] if one["name"] == names.SETUP_CONTAINER]
        known = {one["name"] for one in found["env"]}
        assert "OURS" in known and (variable in known) is taken, egress
        assert variable in {one["name"] for one in made["spec"]["containers"][0]["env"]}


def test_a_sandbox_that_goes_on_takes_its_workspace_along() -> None:
    template = objects.template(workspace={"persistent": {"size": "1Gi"}})
    first = build(template, name="a")
    assert first["metadata"]["annotations"][names.ANNOTATION_WORKSPACE] == "a-workspace"
    again = build(template, name="b", owner=SANDBOX, sandbox=SANDBOX, workspace="a-workspace")
    assert again["metadata"]["annotations"][names.ANNOTATION_WORKSPACE] == "a-workspace"
    assert again["spec"]["volumes"][0] == {
        "name": "workspace", "persistentVolumeClaim": {"claimName": "a-workspace"},
    }  # fmt: skip
    pods = {podspec.cold_pod_name(SANDBOX, restarts) for restarts in range(5)}
    assert len(pods) == 5


@pytest.mark.parametrize(
    ("asked", "cpu", "memory"),
    [(None, "100m", "1Gi"), ({"memory": "256Mi"}, "100m", "256Mi"), ({"cpu": "500m"}, "500m", "1Gi")],
)
def test_a_request_that_is_not_made_has_its_default_beside_one_that_is(
    asked: dict[str, str] | None, cpu: str, memory: str
) -> None:
    made = build(objects.template(resources={"cpu": "1", "memory": "1Gi", "requests": asked}))
    requests = made["spec"]["containers"][0]["resources"]["requests"]
    assert (requests["cpu"], requests["memory"]) == (cpu, memory)
