"""Who has written which field of a Sandbox or a pod of ours is recorded for those who apply, and for nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandyard.api import names
from tests.api.lives import claim, pool
from tests.support import manifests
from tests.support.kube import Kube, Refused
from tests.support.operator import OperatorProcess

APPLY = "application/apply-patch+yaml"


def managers(kube: Kube, kind: str, name: str) -> set[tuple[str, str]]:
    """Who is recorded, and how each wrote."""
    found = kube.get(kind, name)
    assert found is not None
    return {(one["manager"], one["operation"]) for one in found["metadata"].get("managedFields", ())}


def apply(kube: Kube, manager: str, name: str, labels: dict[str, str], force: str = "false") -> None:
    made = {**manifests.sandbox(name, "python"), "metadata": {"name": name, "labels": labels}}
    kube.request("PATCH", kube.path("sandboxes", name), made, content_type=APPLY,
                 params={"fieldManager": manager, "force": force})  # fmt: skip


def test_a_sandbox_that_is_created_has_no_record_through_its_whole_life(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    claim(kube, "s")
    pod = kube.status("sandbox", "s")["podName"]
    assert managers(kube, "sandbox", "s") == set()
    assert managers(kube, "pod", pod) == set()
    kube.patch("sandbox", "s", {"metadata": {"labels": {"a": "b"}}})
    assert managers(kube, "sandbox", "s") == set(), "nor do later writes begin one"
    for warm in kube.list("pods", f"{names.LABEL_STATE}={names.STATE_WARM}"):
        assert "managedFields" not in warm["metadata"], "its kubelet has written its status"
    # Of a pool there is one, and it is written seldom.
    assert managers(kube, "sandboxpool", "python") != set()
    kube.delete("sandbox", "s")


def test_who_applies_a_sandbox_takes_fields_back_that_were_his(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    apply(kube, "gitops", "applied", {"mine": "1", "also": "2"})
    kube.wait_for("sandbox", "applied", "Ready")
    assert ("gitops", "Apply") in managers(kube, "sandbox", "applied")
    kube.patch("sandbox", "applied", {"metadata": {"labels": {"somebodys": "3"}}})
    apply(kube, "gitops", "applied", {"mine": "1"})
    found = kube.get("sandbox", "applied")
    assert found is not None and found["metadata"]["labels"] == {"mine": "1", "somebodys": "3"}
    with pytest.raises(Refused, match="conflict"):
        apply(kube, "another", "applied", {"mine": "4"})


def test_one_that_was_created_can_be_applied_later(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    made = manifests.sandbox("later", "python")
    made["metadata"]["labels"] = {"a": "b"}
    kube.create(made)
    kube.wait_for("sandbox", "later", "Ready")
    # What was there before is nobody's: who changes it says so, as of any object without a record.
    apply(kube, "gitops", "later", {"a": "c"}, force="true")
    apply(kube, "gitops", "later", {})
    found = kube.get("sandbox", "later")
    assert found is not None and "a" not in found["metadata"].get("labels", {})
    assert found["metadata"]["finalizers"] == ["sandyard.dev/teardown"]


@pytest.mark.parametrize("key", ["kubectl.kubernetes.io/last-applied-configuration", "meta.helm.sh/release-name"])
def test_what_kubectl_apply_and_helm_make_keeps_its_record(kube: Kube, key: str) -> None:
    made: dict[str, Any] = manifests.sandbox("kept", "python")
    made["metadata"]["annotations"] = {key: "{}"}
    kube.create(made)
    assert {operation for _, operation in managers(kube, "sandbox", "kept")} == {"Update"}


def test_kubectl_goes_on_from_one_way_to_apply_to_the_other(kube: Kube) -> None:
    made = manifests.sandbox("both", "python")
    made["metadata"]["labels"] = {"a": "b"}
    kube.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    made["metadata"]["labels"] = {"a": "c"}
    kube.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(made))
    found = kube.get("sandbox", "both")
    assert found is not None and found["metadata"]["labels"] == {"a": "c"}


def test_pods_of_others_keep_theirs(kube: Kube) -> None:
    kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "somebodys"},
                 "spec": {"containers": [{"name": "c", "image": "a"}]}})  # fmt: skip
    assert managers(kube, "pod", "somebodys") != set()
    kube.delete("pod", "somebodys", force=True)


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_who_applies_an_empty_map_in_the_place_of_one_is_not_refused(kube: Kube, field: str) -> None:
    made = {**manifests.sandbox("emptied", "python"), "metadata": {"name": "emptied", field: {"a": "b"}}}
    for content in ({"a": "b"}, {}, {"c": "d"}, None):
        made["metadata"][field] = content
        kube.request("PATCH", kube.path("sandboxes", "emptied"), made, content_type=APPLY,
                     params={"fieldManager": "gitops", "force": "true"})  # fmt: skip
    found = kube.get("sandbox", "emptied")
    assert found is not None and not found["metadata"].get(field)
