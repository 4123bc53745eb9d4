"""The page of conditions and reasons, each with what it means and what to do."""

from __future__ import annotations

import re
from typing import Final

from sandyard.api.reasons import Reason
from sandyard.api.remedies import CONDITIONS, REASONS

__all__ = ["page"]

_BEGIN: Final = """<!-- Generated from operator/sandyard/api/remedies.py by hack/generate. Do not edit. -->
# Conditions and reasons

`kubectl describe sandbox NAME` and `kubectl describe sandboxpool NAME` show conditions with reasons and messages; the
column REASON of `kubectl get` is that of `Reconciling`. What can be used, only not as it asks (`PausingDisabled`,
`RestartUnavailable` and the like), prints `Ready` there: why is in `Stalled`. [health.md](health.md) has every
situation with its conditions.

## Conditions

| condition | what it says when it is True |
| --- | --- |
"""


def page() -> str:
    """The page, as Markdown."""
    conditions = [f"| `{condition}` | {told} |" for condition, told in CONDITIONS.items()]
    reasons = [f"| `{reason}` | {_linked(REASONS[reason][0])} | {_linked(REASONS[reason][1])} |" for reason in Reason]
    head = ["", "## Reasons", "", "| reason | what it means | what to do |", "| --- | --- | --- |"]
    return _BEGIN + "\n".join([*conditions, *head, *reasons]) + "\n"


def _linked(text: str) -> str:
    """Names of pages and runbooks become links."""
    text = re.sub(r"\b([a-z]+\.md)\b", r"[\1](\1)", text)
    return re.sub(r"runbook (Sandyard\w+)", r"runbook [\1](runbooks/\1.md)", text)
