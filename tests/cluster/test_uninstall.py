"""Helm takes the operator away, and what is in the whole cluster with it; and a stranger begins from there."""

from __future__ import annotations

import subprocess

from localcluster import images, paths
from tests.support import manifests, pages
from tests.support.kube import Kube
from tests.support.release import Installed

HOUR = paths.REPOSITORY / "docs" / "first-hour.md"


def follow_the_page(installed: Installed) -> None:
    """Run every command of the page; it must succeed, and print what the page shows."""
    text, given = HOUR.read_text(), "image.repository=registry.example/sandyard/operator"
    repository, _, tag = images.OPERATOR_IMAGE.rpartition(":")
    assert given in text
    for block in pages.commands(text.replace(given, f"image.repository={repository},image.tag={tag}")):
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{block.script}"], cwd=paths.REPOSITORY, timeout=240, text=True,
            env=installed.kube.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.script}\n{done.stdout}"
        assert pages.differs(block.shown, done.stdout) == "", f"{block.script}\n{done.stdout}"


def test_uninstall_with_live_sandboxes_leaves_no_finalizer_and_a_first_hour_begins(
    kube: Kube, installed: Installed
) -> None:
    """The page begins on a cluster without Sandyard and ends on one, so one uninstall serves both."""
    kube.apply(manifests.pool("python", 2))
    kube.wait_for("sandboxpool", "python", "Full")
    kube.create(manifests.sandbox("a", "python"), manifests.sandbox("b", template=manifests.template()))
    kube.kubectl("wait", "--for=condition=Ready", "sandboxes", "--all", "--timeout=60s")
    try:
        kube.run("helm3", "uninstall", "sandyard", "--namespace=sandyard-system", "--wait", "--timeout=120s")
        assert kube.list("sandboxes,sandboxpools", everywhere=True) == []
        assert kube.list("pods,networkpolicies") == []
        kube.kubectl("delete", "crd", "sandboxes.sandyard.dev", "sandboxpools.sandyard.dev", "--timeout=30s")
        follow_the_page(installed)
    finally:
        installed.install(helm="helm3")
    kube.run("helm", "test", "sandyard", "--namespace=sandyard-system", "--timeout=60s")
