"""The chart, installed in a local cluster with the operator's own image."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from localcluster import images, lifecycle, network, paths
from tests.support import report
from tests.support.audit import Audit
from tests.support.kube import Kube, wait_for_api

__all__ = ["Installed", "cluster_of_its_own", "install", "load_images"]

OPERATOR_USER = "system:serviceaccount:sandyard-system:sandyard"


@dataclass(frozen=True)
class Installed:
    """The cluster and the release in it."""

    cluster: paths.Cluster
    kube: Kube

    def audit(self) -> Audit:
        """The operator's calls from now on."""
        return Audit(self.cluster.logs / "audit.log", OPERATOR_USER)

    def install(self, *values: str, helm: str = "helm") -> None:
        """Install or upgrade the chart with the operator's own image."""
        install(self.kube, *values, helm=helm)

    def start_operator(self) -> None:
        """Run one operator, of the image that the node has now: a cluster that was kept may run an earlier one."""
        image, record = images.operator().name, self.cluster.state / "operator-image"
        system = self.kube.within("sandyard-system")
        if record.exists() and record.read_text() != image:
            system.kubectl("rollout", "restart", "deployment/sandyard")
        self.scale_operator(1)
        record.write_text(image)

    def scale_operator(self, replicas: int) -> None:
        """Run so many replicas of the operator in the cluster, and wait for it."""
        system = self.kube.within("sandyard-system")
        system.kubectl("scale", "deployment/sandyard", f"--replicas={replicas}")
        if replicas:
            system.kubectl("rollout", "status", "deployment/sandyard", "--timeout=90s")
        else:
            selector = "app.kubernetes.io/component=operator"
            system.kubectl("wait", "--for=delete", "pod", "-l", selector, "--timeout=60s")


def install(kube: Kube, *values: str, helm: str = "helm") -> None:
    """Install or upgrade the chart, and wait until its kinds and its policies hold."""
    repository, _, tag = images.OPERATOR_IMAGE.rpartition(":")
    # Lists of our tests name everything, to see what stays closed all the same.
    lists = "policy.cidrs={public,0.0.0.0/0,::/0}"
    # And to name the cluster's DNS as a template's own is a matter of the platform team's.
    servers = f"policy.nameservers={{public,{network.DNS_ADDRESS}/32}}"
    settings = [f"image.repository={repository}", f"image.tag={tag}", "replicas=1", lists, servers, *values]
    kube.run(
        helm, "upgrade", "--install", "sandyard", str(paths.REPOSITORY / "charts" / "sandyard"),
        "--namespace=sandyard-system", "--create-namespace", "--wait", "--timeout=120s",
        *(f"--set={setting}" for setting in settings),
    )  # fmt: skip
    wait_for_api(kube)


def load_images(cluster: paths.Cluster) -> None:
    """Bring the images of the sandboxes and of the operator to the node."""
    for archive in (images.python(), images.operator()):
        lifecycle.provide(cluster, archive)


@contextlib.contextmanager
def cluster_of_its_own(name: str, options: lifecycle.Options) -> Iterator[Kube]:
    """A cluster with our images in it, and gone in the end."""
    cluster = lifecycle.up(name, options)
    kube = Kube(cluster.kubeconfig)
    try:
        load_images(cluster)
        yield kube
    except BaseException:
        print(report.state(kube))
        raise
    finally:
        lifecycle.down(name)
    assert not cluster.state.exists()
