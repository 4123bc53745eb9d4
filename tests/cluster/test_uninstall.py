"""Helm takes the operator away, and what is in the whole cluster with it."""

from __future__ import annotations

from tests.support import manifests
from tests.support.kube import Kube
from tests.support.release import Installed


def test_uninstall_with_live_sandboxes_leaves_no_finalizer(kube: Kube, installed: Installed) -> None:
    kube.apply(manifests.pool("python", 2))
    kube.wait_for("sandboxpool", "python", "Full")
    kube.create(manifests.sandbox("a", "python"), manifests.sandbox("b", template=manifests.template()))
    kube.kubectl("wait", "--for=condition=Ready", "sandboxes", "--all", "--timeout=60s")
    try:
        kube.run("helm3", "uninstall", "sandyard", "--namespace=sandyard-system", "--wait", "--timeout=120s")
        assert kube.list("sandboxes", everywhere=True) == []
        assert kube.list("sandboxpools", everywhere=True) == []
        assert kube.list("pods") == []
        assert kube.list("networkpolicies") == []
        kube.kubectl("delete", "crd", "sandboxes.sandyard.dev", "sandboxpools.sandyard.dev", "--timeout=30s")
    finally:
        installed.install(helm="helm3")
    kube.run("helm", "test", "sandyard", "--namespace=sandyard-system", "--timeout=60s")
