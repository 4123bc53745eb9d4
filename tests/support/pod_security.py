"""The fixtures of the Pod Security Standards, as they stand and carried over into a pod of ours.

They come with Kubernetes' own admission (k8s.io/pod-security-admission) and are read when a test asks for them. A raw
fixture is refused for a dozen reasons, for it has no proof. What one is about shows when its difference from the good
fixture beside it is put into a pod that is good otherwise.
"""

from __future__ import annotations

import copy
import functools
import json
from typing import Any, Final

import yaml

from localcluster import tools
from tests.support import admission

__all__ = ["COUNTS", "PROFILES", "carried_over", "fixtures", "raw"]

PROFILES: Final = ("restricted", "baseline")
# How many there are for Kubernetes 1.37, which no fetch may fall short of.
COUNTS: Final = {("restricted", "fail"): 76, ("restricted", "pass"): 23, ("baseline", "fail"): 34,
                 ("baseline", "pass"): 15}  # fmt: skip
_CONTAINERS: Final = ("containers", "initContainers")


@functools.cache
def fixtures(profile: str, verdict: str) -> dict[str, dict[str, Any]]:
    """The pods of *profile* that it has to ``pass`` or ``fail``, by name."""
    folder = tools.pod_security_fixtures() / profile / verdict
    found = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))}
    assert len(found) == COUNTS[profile, verdict], f"{len(found)} fixtures in {folder}"
    return found


def raw(fixture: dict[str, Any]) -> dict[str, Any]:
    """The fixture as it stands, with the labels of a pod of ours."""
    made = copy.deepcopy(fixture)
    made["metadata"]["labels"] = admission.built()["metadata"]["labels"]
    return made


def carried_over(profile: str, fixture: dict[str, Any]) -> dict[str, Any]:
    """A pod of ours that differs from a good one as *fixture* does from the base of its *profile*."""
    made = admission.built()
    made["metadata"]["name"] = "another"
    base = fixtures(profile, "pass")["base"]
    _carry(made["spec"], base["spec"], fixture["spec"])
    _carry(made["metadata"]["annotations"], {}, fixture["metadata"].get("annotations", {}))
    # The names of its containers are the only ones that mean something in an annotation.
    renamed = json.dumps(made["metadata"]["annotations"])
    for kind, name in (("initContainers", "initcontainer1"), ("containers", "container1")):
        renamed = renamed.replace(name, made["spec"][kind][0]["name"])
    made["metadata"]["annotations"] = json.loads(renamed)
    return made


def _carry(ours: dict[str, Any], base: dict[str, Any], fixture: dict[str, Any]) -> None:
    for key in base.keys() - fixture.keys():
        ours.pop(key, None)
    for key, value in fixture.items():
        if key in base and base[key] == value:
            continue
        if key in _CONTAINERS:
            for number, container in enumerate(value):
                before = base[key][number] if number < len(base[key]) else {}
                if number < len(ours[key]):
                    _carry(ours[key][number], before, container)
                else:
                    ours[key].append(container)
        elif isinstance(value, dict) and isinstance(ours.get(key), dict):
            _carry(ours[key], base.get(key) or {}, value)
        else:
            ours[key] = copy.deepcopy(value)
