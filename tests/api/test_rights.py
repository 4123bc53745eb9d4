"""The Roles of docs/rights: each may what its job needs, and nothing else; and the example of a team's namespace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from localcluster import paths
from tests.support import admission, chart, manifests
from tests.support.admission import World
from tests.support.kube import Kube, Refused, until

DOCS = paths.REPOSITORY / "docs"
POOLED = manifests.sandbox("new", "python")
OWN = manifests.sandbox("new", template={"image": "a"})
LISTED = manifests.sandbox("new", "python", network={"egress": "AllowList", "allow": [{"cidr": "1.1.1.1/32"}]})
POOL = manifests.pool("new")
MADE = {"pooled": POOLED, "own": OWN, "listed": LISTED, "pool": POOL}
# (verb, resource) -> the jobs that may.
USES = {
    ("get", "sandboxes"): {"launcher", "runner", "author", "observer", "reaper"},
    ("delete", "sandboxes"): {"launcher", "runner", "author", "reaper"},
    ("patch", "sandboxes"): {"runner", "author"},
    ("create", "sandboxes/exec"): {"runner", "author"},
    ("create", "pods/exec"): {"runner", "author"},
    ("create", "pods"): set(),
    ("delete", "pods"): set(),
    ("patch", "sandboxes/status"): set(),
    ("get", "secrets"): set(),
    ("get", "sandboxpools"): {"runner", "author", "observer", "scaler", "pool-keeper"},
    ("patch", "sandboxpools/scale"): {"scaler", "pool-keeper"},
    ("patch", "sandboxpools"): {"pool-keeper"},
    ("delete", "sandboxpools"): {"pool-keeper"},
    ("list", "events"): {"observer", "pool-keeper"},
}
MAKES = {
    "launcher": {"pooled"}, "runner": {"pooled"}, "author": {"pooled", "own", "listed"}, "observer": set(),
    "scaler": set(), "pool-keeper": {"pool"}, "reaper": set(),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    yield from admission.world(admin)


def role(job: str) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((DOCS / "rights" / f"{job}.yaml").read_text())
    return made


def user(kube: Kube, job: str) -> str:
    """A user who has the job's Role in that namespace."""
    name, group = f"user-{job}", "rbac.authorization.k8s.io"
    kube.apply(role(job), {
        "apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": role(job)["metadata"]["name"]},
        "subjects": [{"kind": "User", "name": name, "apiGroup": group}],
    })  # fmt: skip
    first = role(job)["rules"][0]
    until("the Role holds", lambda: kube.may(name, first["verbs"][0], first["resources"][0]), 30)
    return name


@pytest.mark.parametrize("job", MAKES)
def test_a_job_may_what_it_needs_and_nothing_else(world: World, job: str) -> None:
    kube = world.admin
    name = user(kube, job)
    # What is virtual is asked for in admission: the tests below and those of entering see it.
    asked = {key for key in USES if key[1] != "sandboxes/exec"}
    assert {key for key in asked if kube.may(name, *key)} == {key for key in asked if job in USES[key]}
    for what, made in MADE.items():
        if what in MAKES[job]:
            kube.as_user(name).create(made, dry_run=True)
        else:
            with pytest.raises(Refused):
                kube.as_user(name).create(made, dry_run=True)


def test_the_page_lists_each_role_with_its_job() -> None:
    rows = dict(re.findall(r"^\| \[([\w-]+)\]\(rights/[\w-]+\.yaml\) \| (.*) \|$", (DOCS / "rights.md").read_text(),
                           re.MULTILINE))  # fmt: skip
    assert set(rows) == set(MAKES) == {path.stem for path in (DOCS / "rights").glob("*.yaml")}
    for job, told in rows.items():
        assert (DOCS / "rights" / f"{job}.yaml").read_text().startswith(f"# {told}\n")
        virtual = {name for rule in role(job)["rules"] for name in rule["resources"] if name == "sandboxes/exec"}
        assert bool(virtual) is (job in USES["create", "sandboxes/exec"])


def test_the_example_of_a_team_is_taken_and_its_values_are_bounds(admin: Kube) -> None:
    made = list(yaml.safe_load_all((DOCS / "team" / "namespace.yaml").read_text()))
    admin.apply_as_is(*made)
    try:
        values = yaml.safe_load((DOCS / "team" / "values.yaml").read_text())
        assert chart.render({"policy.namespaces": values["policy"]["namespaces"]})
        assert set(values["policy"]["namespaces"]) == {made[0]["metadata"]["name"]}
        hard = made[1]["spec"]["hard"]
        assert "count/sandboxes.sandyard.dev" in hard
    finally:
        admin.delete("namespace", made[0]["metadata"]["name"], wait=False)
