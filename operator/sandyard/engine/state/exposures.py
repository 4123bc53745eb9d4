"""Which namespaces' sandboxes are opened by network policies of others, as the watch shows these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sandyard.api.objects import NetworkPolicy
from sandyard.podspec import foreign
from sandyard.podspec.foreign import Exposure

__all__ = ["Exposures"]


class Exposures:
    """Keeps the verdict on each policy, not the policies.

    Parameters
    ----------
    template_labels
        How keys of a template's labels may begin.
    withholds
        Whether an opened namespace's sandboxes are not handed out.
    """

    def __init__(self, template_labels: Sequence[str] = (), *, withholds: bool = True) -> None:
        self._template_labels = template_labels
        self._withholds = withholds
        self._opening: defaultdict[str, set[str]] = defaultdict(set)

    def policy_changed(self, before: NetworkPolicy | None, after: NetworkPolicy | None) -> bool:
        """Follow the informer; says whether that changes the exposure of the policy's namespace."""
        policy = after or before
        assert policy is not None
        namespace, name = policy.metadata.namespace, policy.metadata.name
        known = name in self._opening.get(namespace, ())
        opens = after is not None and foreign.opens_sandboxes(after, self._template_labels)
        if opens and not known:
            self._opening[namespace].add(name)
        elif known and not opens:
            self._opening[namespace].discard(name)
            if not self._opening[namespace]:
                del self._opening[namespace]
        return opens != known

    def of(self, namespace: str) -> Exposure | None:
        """What opens the sandboxes of *namespace*; None if nothing does."""
        opening = self._opening.get(namespace)
        return Exposure(tuple(sorted(opening)), self._withholds) if opening else None

    def withheld(self, namespace: str) -> bool:
        """Whether nothing is to be handed out in *namespace*."""
        return self._withholds and namespace in self._opening
