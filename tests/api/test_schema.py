"""What the API server takes, what it refuses and with which words, and what `kubectl get` shows.

The words are the API server's, so most cases go to it directly; `test_kubectl_apply_shows_the_words` sees that kubectl
shows them.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.support import manifests
from tests.support.kube import Kube, Refused


def changed(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    obj = copy.deepcopy(obj)
    *parents, last = path.split(".")
    node = obj
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = value
    return obj


OWN = manifests.sandbox("x", template={"image": "a"})
CLAIM = manifests.sandbox("x", "python")
POOL = manifests.pool("x", 1, {"image": "a"})
T = "spec.template"


@pytest.mark.parametrize(
    ("obj", "path", "value", "told"),
    [
        (CLAIM, "spec", {}, "exactly one of poolRef"),
        (CLAIM, T, {"image": "a"}, "exactly one of poolRef"),
        (CLAIM, "spec.poolRef", {}, "spec.poolRef.name"),
        (CLAIM, "spec.poolRef.name", "Not_A_Name", "spec.poolRef.name"),
        (CLAIM, "spec.poolRef.namespace", "other", "unknown field"),
        (CLAIM, "spec.colour", "red", 'unknown field "spec.colour"'),
        (OWN, "spec.desiredState", "Suspended", "needs template.workspace.persistent"),
        (OWN, "spec.lifetime", {"onExpiry": "Suspend"}, "needs template.workspace.persistent"),
        (CLAIM, "spec.desiredState", "Napping", "spec.desiredState"),
        (CLAIM, "spec.waitSeconds", 0, "spec.waitSeconds"),
        (CLAIM, "spec.lifetime", {"seconds": -5}, "spec.lifetime.seconds"),
        (CLAIM, "spec.lifetime", {"deadline": "tomorrow"}, "spec.lifetime.deadline"),
        (CLAIM, "spec.lifetime", {"deadline": "2030-01-01T00:00:00"}, "spec.lifetime.deadline"),
        (CLAIM, "spec.lifetime", {"onExpiry": "Explode"}, "spec.lifetime.onExpiry"),
        (CLAIM, "spec.env", [{"name": "a b", "value": "1"}], "spec.env[0].name"),
        (CLAIM, "spec.env", [{"name": "A"}, {"name": "A"}], "Duplicate value"),
        (CLAIM, "spec.env", [{"name": "A", "valueFrom": {"secretKeyRef": {}}}], "unknown field"),
        (OWN, f"{T}.image", "", "spec.template.image"),
        (OWN, f"{T}.image", "a b", "spec.template.image"),
        (OWN, f"{T}.image", "pythоn:3", "spec.template.image"),  # noqa: RUF001 - a Cyrillic letter: the point
        (OWN, f"{T}.resources", {"memory": "512q"}, "memory"),
        (OWN, f"{T}.resources", {"memory": "-1Gi"}, "memory"),
        (OWN, f"{T}.resources", {"memory": "1Ki"}, "a quantity from 16Mi to 16Ti"),
        (OWN, f"{T}.resources", {"memory": "999Pi"}, "a quantity from 16Mi to 16Ti"),
        (OWN, f"{T}.resources", {"cpu": "0"}, "a quantity from 10m to 1k"),
        (OWN, f"{T}.resources", {"cpu": 0.5}, "cpu"),
        (OWN, f"{T}.resources", {"cpu": "1", "requests": {"cpu": "2"}}, "requests.cpu must not exceed cpu"),
        (OWN, f"{T}.resources", {"requests": {"memory": "1Gi"}}, "requests.memory must not exceed memory"),
        (OWN, f"{T}.workspace", {"sizeLimit": "0"}, "a quantity from 1Mi to 64Ti"),
        (OWN, f"{T}.workspace", {"medium": "Tape"}, "medium"),
        (OWN, f"{T}.workspace", {"hostPath": "/"}, "unknown field"),
        (OWN, f"{T}.user", {"uid": -1}, "uid"),
        (OWN, f"{T}.user", {"uid": 0}, "policy.allowRoot"),
        (OWN, f"{T}.network", {"egress": "Everything"}, "egress"),
        (OWN, f"{T}.network", {"ingressFrom": [{"ports": [{"port": 80}]}]}, "podSelector, namespaceSelector"),
        (OWN, f"{T}.labels", {"sandyard.dev/state": "warm"}, "use a key of your own domain"),
        (OWN, f"{T}.labels", {"pod-security.kubernetes.io/enforce": "privileged"}, "use a key of your own domain"),
        (OWN, f"{T}.annotations", {"dev.gvisor.flag.host-uds": "all"}, "use a key of your own domain"),
        (OWN, f"{T}.tolerations", [{"operator": "Exists"}], "tolerations[0].key"),
        (OWN, f"{T}.priorityClassName", "system-node-critical", "PriorityClass of your own"),
        (OWN, f"{T}.hostname", "UPPER", "hostname"),
        (OWN, f"{T}.workingDir", "relative", "workingDir"),
        (OWN, f"{T}.dns", {"nameservers": ["dns.example.com"]}, "must be an IP address"),
        (OWN, f"{T}.terminationGracePeriodSeconds", 10**9, "terminationGracePeriodSeconds"),
        (OWN, f"{T}.terminationGracePeriodSeconds", 0, "terminationGracePeriodSeconds"),
        *[(OWN, f"{T}.{field}", True, "unknown field") for field in
          ("privileged", "hostNetwork", "hostPID", "hostIPC", "nodeName", "serviceAccountName",
           "securityContext", "volumes", "automountServiceAccountToken")],
        (OWN, f"{T}.setup", {}, "spec.template.setup.command"),
        (OWN, f"{T}.setup", {"command": []}, "spec.template.setup.command"),
        (OWN, f"{T}.setup", {"command": ["a"], "timeoutSeconds": 0}, "timeoutSeconds"),
        (OWN, f"{T}.setup", {"command": ["a"], "network": {"ingressFrom": [
            {"podSelector": {}, "ports": [{"port": 1}]}]}}, "a setup has no ingressFrom"),
        (OWN, f"{T}.workspace", {"persistent": {}}, "spec.template.workspace.persistent.size"),
        (OWN, f"{T}.workspace", {"persistent": {"size": "none"}}, "size"),
        (OWN, f"{T}.workspace", {"persistent": {"size": "1Gi"}, "medium": "Memory"}, "cannot be a RAM disk"),
        (POOL, "spec.recycle", "Wash", "spec.recycle"),
        (POOL, "spec.restart", {"timeoutSeconds": 0}, "spec.restart.timeoutSeconds"),
        (POOL, "spec.restart", {"maxUses": 0}, "spec.restart.maxUses"),
        (POOL, "spec.scrub", {"maxUses": 0}, "spec.scrub.maxUses"),
        *[(POOL, "spec", {"recycle": word, "template": {"image": "a", **fields}}, f"recycle Restart needs {told}")
          for word in ("Restart", "Scrub")
          for told, fields in {"a template whose setup": {"setup": {"command": ["a"], "network": {"egress": "DNS"}}},
                               "a template without workspace": {"workspace": {"persistent": {"size": "1Gi"}}},
                               "a template whose user": {"user": {"uid": 0}}}.items()],
        (OWN, f"{T}.user", {"uid": 64042}, "Sandyard's own"),
        (OWN, f"{T}.user", {"gid": 64042}, "Sandyard's own"),
        (POOL, "spec.replicas", -1, "spec.replicas"),
        (POOL, "spec.replicas", 10**6, "spec.replicas"),
        (POOL, "spec.maxSandboxes", 0, "spec.maxSandboxes"),
        (POOL, "spec.whenEmpty", {"action": "Panic"}, "spec.whenEmpty.action"),
        (POOL, "spec.whenEmpty", {"waitSeconds": -1}, "spec.whenEmpty.waitSeconds"),
        (POOL, "spec.startup", {"parallelism": 0}, "spec.startup.parallelism"),
        (POOL, "spec.template", None, "spec.template"),
        (POOL, f"{T}.user", {"uid": 0}, "policy.allowRoot"),
        (POOL, "metadata.labels", {"sandyard.dev/x": "y"}, "belong to the operator"),
        (POOL, "metadata.annotations", {"sandyard.dev/x": "y"}, "belong to the operator"),
        (CLAIM, "spec.lifetime", {"idleSeconds": 1}, "spec.lifetime.idleSeconds"),
        (CLAIM, "spec.lifetime", {"secondsAfterFinished": -1}, "spec.lifetime.secondsAfterFinished"),
        (CLAIM, "spec.network", {"egress": "AllowList"}, "allow belongs to egress AllowList"),
        (CLAIM, "spec.network", {"egress": "DNS", "allow": [{"cidr": "1.2.3.0/24"}]}, "allow belongs to egress"),
        *[(CLAIM, "spec.network", {"egress": "AllowList", "allow": [{"cidr": cidr}]}, "must be a range such as")
          for cidr in ("1.2.3.4/24", "1.2.3.4", "example.com", "300.0.0.0/8", "fe80::1/10")],
        (CLAIM, "spec.network", {"egress": "AllowList", "allow": [{"cidr": "1.2.3.0/24", "ports": [{"port": 0}]}]},
         "ports[0].port"),
        (POOL, "spec.whenEmpty", {"action": "Reject", "waitSeconds": 10**7}, "spec.whenEmpty.waitSeconds"),
        (POOL, "spec.warm", {"maxAgeSeconds": 1}, "spec.warm.maxAgeSeconds"),
        (POOL, "spec.warm", {"probe": {"command": []}}, "spec.warm.probe.command"),
        (POOL, "spec.warm", {"probe": {"periodSeconds": 5}}, "spec.warm.probe.command"),
        *[(POOL, "spec.rollout", {"maxUnavailable": value}, "maxUnavailable") for value in (-1, "many", "101%", "5")],
        (POOL, "spec.autoscale", {"minReplicas": 5, "maxReplicas": 2}, "minReplicas must not exceed maxReplicas"),
        (POOL, "spec.autoscale", {"minReplicas": 5}, "spec.autoscale.maxReplicas"),
        (POOL, "spec.claimDefaults", {"lifetime": {"deadline": "2030-01-01T00:00:00Z"}}, "unknown field"),
        (POOL, "spec.maxLifetimeSeconds", 0, "spec.maxLifetimeSeconds"),
        (POOL, "spec.allowedEgress", ["Everything"], "spec.allowedEgress[0]"),
        (POOL, "spec.allowedEgress", ["DNS", "DNS"], "Duplicate value"),
        *[(CLAIM, "spec.lifetime", {"deadline": text}, "spec.lifetime.deadline") for text in
          ("2030-01-31t12:00:00z", "2030-01-31T12:00:00+99:00", "2030-01-31T24:00:00Z", "2030-01-31T12:00:60Z",
           "0000-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "2030-02-30T00:00:00Z", "2030-01-31T12:00:00,5Z")],
        *[(CLAIM, "spec.network", {"ingressFrom": [{kind: selector, "ports": [{"port": 1}]}]}, told)
          for kind in ("podSelector", "namespaceSelector") for selector, told in (
              ({"matchLabels": {"bad key!": "x"}}, "keys must be label keys"),
              ({"matchLabels": {"a/b/c": "x"}}, "keys must be label keys"),
              ({"matchLabels": {f"{'a' * 64}": "x"}}, "keys must be label keys"),
              ({"matchLabels": {"Example.com/a": "x"}}, "keys must be label keys"),
              ({"matchLabels": {"a": "-x"}}, "matchLabels.a"),
              ({"matchLabels": {"a": "x y"}}, "matchLabels.a"),
              ({"matchExpressions": [{"key": "bad key!", "operator": "Exists"}]}, "matchExpressions[0].key"),
              ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "In and NotIn need values"),
              ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": []}]}, "In and NotIn need values"),
              ({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}, "Exists and DoesNotExist"),
              ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]}, "values[0]"),
          )],
        (OWN, f"{T}.labels", {"bad key!": "x"}, "keys must be label keys"),
        (OWN, f"{T}.labels", {"a": "b c"}, "spec.template.labels.a"),
        (OWN, f"{T}.annotations", {"bad key!": "x"}, "keys must be label keys"),
        (OWN, f"{T}.nodeSelector", {"bad key!": "x"}, "keys must be label keys"),
        (OWN, f"{T}.nodeSelector", {"a": "b c"}, "spec.template.nodeSelector.a"),
        (OWN, f"{T}.tolerations", [{"key": "bad key!"}], "tolerations[0].key"),
        (OWN, f"{T}.tolerations", [{"key": "a", "value": "b c"}], "tolerations[0].value"),
        *[(OWN, f"{T}.{field}", value, f"spec.template.{field}") for field, value in (
            ("command", ["a\x00b"]), ("env", [{"name": "A", "value": "\x00"}]), ("workingDir", "/a\x00"),
            ("workingDir", "/\x1b[2J"), ("setup", {"command": ["\x00"]}))],
        (POOL, "spec.warm", {"probe": {"command": ["a\x00"]}}, "spec.warm.probe.command"),
        (CLAIM, "metadata.annotations", {"kopf.zalando.org/last-handled": "{}"}, "belong to the operator"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_field_and_the_remedy(
    admin: Kube, obj: dict[str, Any], path: str, value: Any, told: str
) -> None:
    assert told in admin.refused(changed(obj, path, value))


def test_kubectl_apply_shows_the_words(kube: Kube) -> None:
    for obj, words in (
        (changed(CLAIM, "spec.colour", "red"), 'unknown field "spec.colour"'),
        (changed(OWN, f"{T}.resources", {"memory": "1Ki"}), "a quantity from 16Mi to 16Ti"),
        (changed(POOL, "metadata.labels", {"sandyard.dev/x": "y"}), "belong to the operator"),
    ):
        with pytest.raises(Refused) as caught:
            kube.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
        assert words in str(caught.value)
    kube.kubectl("apply", "-f", "-", stdin=json.dumps(POOL))
    kube.kubectl("apply", "-f", "-", stdin=json.dumps(changed(POOL, "spec.replicas", 3)))
    assert kube.get("sandboxpool", "x")["spec"]["replicas"] == 3  # type: ignore[index]


def test_good_input_is_taken_and_filled_with_defaults(kube: Kube) -> None:
    kube.apply(POOL, changed(CLAIM, "metadata.name", "y"))
    spec = kube.get("sandboxpool", "x")["spec"]  # type: ignore[index]
    assert spec["whenEmpty"] == {"action": "ColdStart", "waitSeconds": 60}
    assert spec["startup"] == {"parallelism": 10, "timeoutSeconds": 300}
    assert spec["paused"] is False
    assert spec["rollout"] == {"maxUnavailable": "25%"}
    template = spec["template"]
    assert template["resources"] == {"cpu": "1", "memory": "512Mi", "ephemeralStorage": "1Gi"}
    assert template["user"] == {"uid": 1000, "gid": 1000}
    assert template["runtimeClassName"] == "gvisor"
    assert template["network"] == {"egress": "None"}
    assert template["terminationGracePeriodSeconds"] == 10
    for kind, name in (("sandboxpool", "x"), ("sandbox", "y")):
        status = kube.status(kind, name)
        assert status["observedGeneration"] == -1, "not seen by any operator yet"
    assert kube.status("sandbox", "y")["phase"] == "Pending"


def test_what_cannot_change_in_a_running_sandbox_does_not(kube: Kube) -> None:
    kube.apply(changed(changed(CLAIM, "spec.env", [{"name": "A", "value": "1"}]), "spec.network", {"egress": "DNS"}))
    refused: list[tuple[dict[str, Any], str]] = [
        ({"poolRef": {"name": "other"}}, "poolRef cannot be changed"),
        ({"poolRef": None, "template": {"image": "a"}}, "poolRef cannot be changed"),
        ({"env": [{"name": "A", "value": "2"}]}, "env cannot be changed"),
        ({"env": None}, "env cannot be changed"),
        ({"network": None}, "network cannot be taken away again"),
    ]
    for change, message in refused:
        with pytest.raises(Refused, match=message):
            kube.patch("sandbox", "x", {"spec": change})
    kube.patch("sandbox", "x", {"spec": {"lifetime": {"seconds": 60}}})


def test_the_finalizer_is_there_from_the_start_and_once(kube: Kube) -> None:
    mine = changed(changed(CLAIM, "metadata.finalizers", ["example.com/mine"]), "metadata.name", "y")
    ours = changed(changed(CLAIM, "metadata.finalizers", ["sandyard.dev/teardown"]), "metadata.name", "z")
    kube.create(CLAIM, POOL, mine, ours)
    found = {
        f"{kind}/{item['metadata']['name']}": item["metadata"]["finalizers"]
        for kind in ("sandbox", "pool")
        for item in kube.list({"sandbox": "sandboxes", "pool": "sandboxpools"}[kind])
    }
    assert found == {
        "sandbox/x": ["sandyard.dev/teardown"],
        "pool/x": ["sandyard.dev/teardown"],
        "sandbox/y": ["example.com/mine", "sandyard.dev/teardown"],
        "sandbox/z": ["sandyard.dev/teardown"],
    }


def test_scaling_is_what_kubectl_scale_does(kube: Kube) -> None:
    kube.apply(POOL)
    kube.kubectl("scale", "sandboxpool/x", "--replicas=4")
    assert kube.get("sandboxpool", "x")["spec"]["replicas"] == 4  # type: ignore[index]


def test_columns_answer_the_question(kube: Kube) -> None:
    kube.apply(POOL, CLAIM)
    assert kube.kubectl("get", "sbxp").split("\n")[0].split() == [
        "NAME", "DESIRED", "WARM", "STARTING", "CLAIMED", "READY", "REASON", "AGE",
    ]  # fmt: skip
    assert kube.kubectl("get", "sbx").split("\n")[0].split() == [
        "NAME", "PHASE", "REASON", "START", "POOL", "POD", "EXPIRES", "AGE",
    ]  # fmt: skip
    both = kube.kubectl("get", "sandyard")
    assert "sandbox.sandyard.dev/x" in both
    assert "sandboxpool.sandyard.dev/x" in both
    assert kube.kubectl("get", "sbx", "--field-selector=spec.poolRef.name=python", "-o", "name").strip()


def test_explain_reads_well(kube: Kube) -> None:
    text = " ".join(kube.kubectl("explain", "sandboxpool.spec.template").split())
    assert "what it may talk to" in text.replace("What the sandbox may talk to", "what it may talk to")
    assert "RuntimeClass" in text
    assert "<no description>" not in kube.kubectl("explain", "sandboxpool", "--recursive")
