"""The corpus of attacks: one file each in tests/attacks, in the folder of its kind.

A file says who attacks (`actor`), what is tried (`tries`, then the manifest, the call or the program), in which layer
it is tried (`api`: the API server alone, `node`: a real sandbox) and what must become of it (`verdict`):

refused
    The API server says no; `says` is a regular expression that its message must hold.
contained
    It is taken and does no harm; `then` (layer api) or `shows` (layer node) tells by what that is seen.
allowed
    It is taken: it looks like an attack and is none.

Two tags keep large inputs short: ``!repeat [TEXT, TIMES]`` is a long text; ``!many [COUNT, ITEM]`` a list and
``!many [COUNT, KEY, VALUE]`` a mapping, in which ``%d`` is replaced by the number.
"""

from __future__ import annotations

import copy
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from localcluster import paths
from tests.support import admission, manifests

__all__ = ["ACTORS", "FOLDER", "KINDS", "Attack", "changed", "corpus", "edited"]

FOLDER: Final = paths.REPOSITORY / "tests" / "attacks"
# Folder of each kind; the first nineteen are those of the report that the corpus answers.
KINDS: Final = (
    "reuse", "policies", "grace", "bounds", "lifetime", "selectors", "entering", "status", "token", "disk", "answers",
    "pods", "annotations", "addresses", "squatting", "finalizers", "sizes", "exec", "logs", "deputy", "inside",
)  # fmt: skip
# Who attacks: see SECURITY.md. "pods" has every right on pods, bindings, the status of volumes and our kinds,
# "operator" the operator's token; "controller" makes volumes with pods, for whoever makes the pod.
ACTORS: Final = (
    "viewer", "user", "author", "pool-admin", "editor", "pods", "operator", "kubelet", "controller", "inside"
)  # fmt: skip
VERDICTS: Final = ("refused", "contained", "allowed")


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes
    ----------
    name
        ``KIND/FILE``.
    do
        What is done, by the keys of its file; see `tests.api.test_attacks` and `tests.support.arena`.
    """

    name: str
    actor: str
    tries: str
    layer: str
    verdict: str
    says: str
    do: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The kind that it is one of."""
        return self.name.partition("/")[0]


class _Loader(yaml.CSafeLoader):
    """YAML with the two tags of the corpus."""


def _repeat(loader: _Loader, node: yaml.Node) -> str:
    assert isinstance(node, yaml.SequenceNode)
    text, times = loader.construct_sequence(node)
    return str(text) * int(times)


def _many(loader: _Loader, node: yaml.Node) -> Any:
    assert isinstance(node, yaml.SequenceNode)
    count, *rest = loader.construct_sequence(node, deep=True)
    numbered = [json.loads(json.dumps(rest).replace("%d", str(number))) for number in range(count)]
    return [item[0] for item in numbered] if len(rest) == 1 else {item[0]: item[1] for item in numbered}


_Loader.add_constructor("!repeat", _repeat)
_Loader.add_constructor("!many", _many)


def _read(path: pathlib.Path) -> Attack:
    content = _Loader(path.read_text()).get_single_data()
    known = {key: content.pop(key, "") for key in ("actor", "tries", "layer", "verdict", "says")}
    made = Attack(name=str(path.relative_to(FOLDER).with_suffix("")), do=content, **known)
    assert made.actor in ACTORS, f"{path}: actor must be one of {ACTORS}"
    assert made.verdict in VERDICTS, f"{path}: verdict must be one of {VERDICTS}"
    assert made.kind in KINDS, f"{path}: its folder must be one of {KINDS}"
    assert made.layer in ("api", "node"), f"{path}: layer must be api or node"
    return made


@functools.cache
def corpus() -> dict[str, Attack]:
    """Every attack, by its name."""
    return {attack.name: attack for attack in map(_read, sorted(FOLDER.glob("*/*.yaml")))}


def _base(name: str) -> dict[str, Any]:
    """What an attack on manifests begins with: something good, in the place of which nothing stands yet."""
    container = {"name": "c", "image": "a"}
    bases = {
        "pod": admission.built,
        "plain": lambda: {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": [container]}},
        "sandbox": lambda: manifests.sandbox("", "ours"),
        "own": lambda: manifests.sandbox("", template={"image": "a"}),
        "pool": lambda: manifests.pool("", 1, {"image": "a"}),
        "claim": lambda: admission.claim(""),
        "autoscaler": lambda: {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {},
            "spec": {
                "scaleTargetRef": {"apiVersion": "sandyard.dev/v1alpha1", "kind": "SandboxPool", "name": "ours"},
                "minReplicas": 1000,
                "maxReplicas": 5000,
            },
        },
        "policy": lambda: {**admission.policy(""), "spec": {"podSelector": {}, "egress": [{}]}},
    }
    made: dict[str, Any] = copy.deepcopy(bases[name]())
    made["metadata"]["name"] = "another"
    return made


def changed(base: str, put: Mapping[str, Any], drop: Sequence[str] = ()) -> dict[str, Any]:
    """The object *base* with some fields set and some dropped, each by its JSON pointer (RFC 6901)."""
    return edited(_base(base), put, drop)


def edited(made: dict[str, Any], put: Mapping[str, Any], drop: Sequence[str] = ()) -> dict[str, Any]:
    """*made* itself, with these fields set and dropped."""
    for pointer, value in put.items():
        parent, key = _parent(made, pointer)
        _put(parent, key, value)
    for pointer in drop:
        parent, key = _parent(made, pointer)
        del parent[int(key) if isinstance(parent, list) else key]
    return made


def _put(parent: Any, key: str, value: Any) -> None:
    if key == "-":
        parent.append(value)
    else:
        parent[int(key) if isinstance(parent, list) else key] = value


def _parent(found: Any, pointer: str) -> tuple[Any, str]:
    """What holds the last step of *pointer*; objects on the way there are made."""
    *way, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for step in way:
        found = found[int(step)] if isinstance(found, list) else found.setdefault(step, {})
    return found, last
