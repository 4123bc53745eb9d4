"""A webhook of others that is away: what it keeps from happening is told, and happens once it is back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.lives import pool
from tests.support import manifests
from tests.support.kube import Kube, until
from tests.support.operator import OperatorProcess

_PATH = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
TELLS_SECONDS = 5.0
# What a machine with other work beside it takes more.
SLACK_SECONDS = 5.0


@contextlib.contextmanager
def webhook_away(kube: Kube, *operations: str) -> Iterator[None]:
    """Nobody answers for *operations* on pods of the namespace; the API server says 500 then."""
    name = f"away-{kube.namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": list(operations)}
    kube.request("POST", _PATH, {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "away.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "clientConfig": {"url": "https://127.0.0.1:1/"}, "rules": [rule],
            "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kube.namespace}},
        }],
    })  # fmt: skip
    try:
        yield
    finally:
        kube.request("DELETE", f"{_PATH}/{name}")


def told(kube: Kube, kind: str, name: str) -> bool:
    """Whether a condition has the API server's words."""
    found: list[dict[str, Any]] = kube.status(kind, name).get("conditions") or []
    return any(item["status"] == "True" and "failed calling webhook" in item.get("message", "") for item in found)


@pytest.fixture
def full(kube: Kube, operator: OperatorProcess) -> Kube:
    pool(kube, 2)
    return kube


def test_a_claim_whose_webhook_is_away_is_told_why_and_ready_once_it_is_back(full: Kube) -> None:
    with webhook_away(full, "UPDATE"):
        full.create(manifests.sandbox("s", "python"))
        until("told", lambda: told(full, "sandbox", "s"), TELLS_SECONDS + SLACK_SECONDS)
    full.wait_for("sandbox", "s", "Ready", 60)
    assert not told(full, "sandbox", "s")


def test_a_sandbox_that_cannot_be_torn_down_for_a_webhook_says_so_and_goes_once_it_is_back(full: Kube) -> None:
    full.create(manifests.sandbox("s", "python"))
    full.wait_for("sandbox", "s", "Ready")
    with webhook_away(full, "DELETE"):
        full.delete("sandbox", "s", wait=False)
        until("told", lambda: told(full, "sandbox", "s"), TELLS_SECONDS + SLACK_SECONDS)
    until("gone", lambda: full.get("sandbox", "s") is None)


def test_a_pool_whose_pods_cannot_be_made_for_a_webhook_says_so_and_is_full_once_it_is_back(full: Kube) -> None:
    with webhook_away(full, "CREATE"):
        full.patch("sandboxpool", "python", {"spec": {"replicas": 4}})
        until("told", lambda: told(full, "sandboxpool", "python"), TELLS_SECONDS + SLACK_SECONDS)
    until("full", lambda: full.status("sandboxpool", "python").get("replicas") == 4)
    assert "lastFailure" not in full.status("sandboxpool", "python")
