"""Bounds by namespace, as a real API server holds them; everything is a dry run."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import render
from tests.support import chart, manifests
from tests.support.bounds import CASES, NAMESPACES
from tests.support.kube import Kube, Refused, until

_KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


def _bounds(namespaces: dict[str, Any]) -> list[chart.Object]:
    objects = chart.render({"policy.namespaces": namespaces})
    return [item for kind in _KINDS for item in chart.selected(objects, kind)
            if item["metadata"]["name"].startswith("sandyard-bounds")]  # fmt: skip


@pytest.fixture(scope="module")
def bounded(admin: Kube) -> Iterator[dict[str, Kube]]:
    """Namespaces with the bounds of `NAMESPACES`, by their keys."""
    names = {key: f"{key}-{uuid.uuid4().hex[:8]}" for key in NAMESPACES}
    for name in names.values():
        admin.make_namespace(name)
    made = _bounds({names[key]: bounds for key, bounds in NAMESPACES.items() if bounds})
    admin.apply_as_is(*made)
    found = {key: admin.within(name) for key, name in names.items()}

    def holds() -> bool:
        # Narrow ones refuse, wide ones no longer do.
        root = manifests.sandbox("x", template={"image": "a", "user": {"uid": 0}})
        sized = manifests.sandbox("x", "p", network={"egress": "Internet"})
        return _taken(found["wide"], root) and not _taken(found["narrow"], sized) and not _taken(found["shut"], sized)

    until("the bounds hold", holds, 60)
    yield found
    for item in made[::-1]:
        admin.delete(item["kind"].lower(), item["metadata"]["name"], wait=False)
    before = [item for item in render(admin) if "sandyard-bounds" in str(item["metadata"])]
    admin.apply_as_is(*before)
    for name in names.values():
        admin.delete("namespace", name, wait=False)


def _taken(kube: Kube, made: dict[str, Any]) -> bool:
    try:
        kube.create(made, dry_run=True)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("name", CASES)
def test_admission_refuses_what_is_beyond_a_bound_and_takes_the_rest(bounded: dict[str, Kube], name: str) -> None:
    case = CASES[name]
    kube = bounded[case.namespace]
    if not case.bound:
        kube.create(copy.deepcopy(case.made), dry_run=True)
        return
    told = kube.refused(copy.deepcopy(case.made))
    assert f"spec.{case.field}: " in told, told
    assert f"is beyond policy.{case.bound} of the chart (" in told, told


@pytest.mark.parametrize(
    ("within", "beyond", "field"),
    [({}, {"lifetime": {"seconds": 3601}}, "lifetime.seconds"),
     ({"lifetime": {"seconds": 3600}}, {"network": {"egress": "Internet"}}, "network.egress")],
)  # fmt: skip
def test_a_claim_that_asks_for_one_thing_beside_its_pool_is_bounded_in_it(
    bounded: dict[str, Kube], within: dict[str, Any], beyond: dict[str, Any], field: str
) -> None:
    kube = bounded["narrow"]
    kube.create(manifests.sandbox("x", "p", **within), dry_run=True)
    with pytest.raises(Refused, match=f"spec.{field}: "):
        kube.create(manifests.sandbox("x", "p", **beyond), dry_run=True)


def test_what_was_made_before_the_bounds_were_narrowed_can_still_be_changed_and_goes(bounded: dict[str, Kube]) -> None:
    kube = bounded["wide"]
    kube.create(manifests.pool("old", 3, {"image": "a", "user": {"uid": 0}}))
    # In a narrower namespace the same pool could not be made; here its bounds are narrowed around it.
    narrowed = _bounds({kube.namespace: {"maxSandboxes": 5}})
    kube.apply_as_is(*narrowed)
    until("they are narrower", lambda: not _taken(kube, manifests.pool("new", 6)), 60)
    try:
        kube.patch("sandboxpool", "old", {"spec": {"paused": True}})
        kube.patch("sandboxpool", "old", {"metadata": {"labels": {"a": "b"}}})
        with pytest.raises(Refused, match=r"policy\.allowRoot"):
            kube.patch("sandboxpool", "old", {"spec": {"template": {"image": "b"}}})
        kube.kubectl("scale", "sandboxpool/old", "--replicas=5")
        with pytest.raises(Refused, match=r"spec\.replicas: 6 is beyond policy\.maxSandboxes of the chart \(5\)"):
            kube.kubectl("scale", "sandboxpool/old", "--replicas=6")
    finally:
        kube.as_user("system:serviceaccount:sandyard-system:sandyard").patch(
            "sandboxpool", "old", {"metadata": {"finalizers": None}}
        )
        kube.delete("sandboxpool", "old", wait=False)
