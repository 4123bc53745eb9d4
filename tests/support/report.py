"""What a cluster held when a test failed: without it a failure elsewhere cannot be explained."""

from __future__ import annotations

import subprocess

from tests.support.kube import Kube, Refused

__all__ = ["state"]

_QUESTIONS = (
    "get nodes -o wide",
    "get sandboxpools,sandboxes,pods --all-namespaces -o wide",
    "get sandboxpools --all-namespaces -o jsonpath={range.items[*]}{.metadata.name}{.status}{'\\n'}{end}",
    "get events --all-namespaces --sort-by=.metadata.creationTimestamp",
    "--namespace=sandyard-system logs deployment/sandyard --tail=60",
)
_MOST_LINES = 70


def state(kube: Kube) -> str:
    """The cluster's nodes, objects, latest Events, and what the operator said last."""
    return "\n".join(f"$ kubectl {question}\n{_answer(kube, question)}\n" for question in _QUESTIONS)


def _answer(kube: Kube, question: str) -> str:
    try:
        lines = kube.run("kubectl", "--request-timeout=10s", *question.split(), timeout=20).splitlines()
    except (Refused, subprocess.SubprocessError, OSError) as error:
        return f"no answer: {error}"
    left_out = [f"({len(lines) - _MOST_LINES} lines left out)"] if len(lines) > _MOST_LINES else []
    return "\n".join([*left_out, *lines[-_MOST_LINES:]])
