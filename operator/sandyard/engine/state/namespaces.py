"""What the policies of each namespace depend on, counted as objects come and go."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandyard.api import names
from sandyard.podspec.network import Reach

__all__ = ["Namespaces"]

_Key = tuple[str, str]


class Namespaces:
    """Which namespaces anything of ours lives in, and which networks it asks for."""

    def __init__(self) -> None:
        self._living: Counter[str] = Counter()
        self._selected: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._counts: defaultdict[str, Counter[_Key]] = defaultdict(Counter)
        self._reaches: defaultdict[str, dict[_Key, Reach]] = defaultdict(dict)
        # By UID: the namespace, the networks asked for, the values of its labels that policies select.
        self._objects: dict[str, tuple[str, tuple[_Key, ...], tuple[str, ...]]] = {}

    def put(
        self, namespace: str, uid: str, reaches: Iterable[Reach] = (), labels: Mapping[str, str] | None = None
    ) -> None:
        """An object is there that asks for *reaches*, or a pod with *labels*."""
        wanted = {_key(reach): reach for reach in reaches}
        values = [(labels or {}).get(name) for name in (names.LABEL_ALLOW, names.LABEL_INGRESS)]
        known = (namespace, tuple(wanted), tuple(value for value in values if value))
        if self._objects.get(uid) == known:
            return
        self.drop(uid)
        self._objects[uid] = known
        self._living[namespace] += 1
        if wanted:
            self._counts[namespace].update(known[1])
            self._reaches[namespace].update(wanted)
        if known[2]:
            self._selected[namespace].update(known[2])

    def drop(self, uid: str) -> None:
        """An object is gone."""
        known = self._objects.pop(uid, None)
        if known is None:
            return
        namespace, keys, values = known
        self._living[namespace] -= 1
        for key in keys:
            if _less(self._counts[namespace], key):
                del self._reaches[namespace][key]
        for value in values:
            _less(self._selected[namespace], value)
        if not self._living[namespace]:
            for table in (self._living, self._counts, self._reaches, self._selected):
                table.pop(namespace, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._living)

    def lived_in(self, namespace: str) -> bool:
        """Whether anything of ours lives there."""
        return namespace in self._living

    def reaches(self, namespace: str) -> list[Reach]:
        """The different networks that are asked for there."""
        return list(self._reaches.get(namespace, {}).values())

    def selected(self, namespace: str, policy: str) -> bool:
        """Whether a pod there carries the label that the policy of that name selects."""
        return any(policy.endswith(value) for value in self._selected.get(namespace, ()))


def _key(reach: Reach) -> _Key:
    return reach.network.model_dump_json(), reach.dns.model_dump_json() if reach.dns is not None else ""


def _less(counts: Counter[Any], key: Any) -> bool:
    """Count one less; says whether that was the last."""
    counts[key] -= 1
    if counts[key]:
        return False
    del counts[key]
    return True
