"""What the machine itself must have: root, Linux, and a few Debian packages."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess

from localcluster import paths

__all__ = ["BUILD_PACKAGES", "CLUSTER_PACKAGES", "TEST_PACKAGES", "require"]

# program that must be found -> Debian package that has it
CLUSTER_PACKAGES = {
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "openssl": "openssl",
    "runc": "runc",
    "catatonit": "catatonit",
    "busybox": "busybox-static",
    "nsenter": "util-linux",
}
BUILD_PACKAGES = {"mmdebstrap": "mmdebstrap", "buildah": "buildah"}
# Shells that the client's scripts are tried with, beside those above.
TEST_PACKAGES = {"bash": "bash", "busybox": "busybox-static", "dash": "dash", "mksh": "mksh"}
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def require(packages: dict[str, str]) -> None:
    """Make sure that all programs of *packages* are there; install them where apt-get can.

    Raises
    ------
    ClusterError
        Not Linux, not root, or a package that has to be installed by hand.
    """
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise paths.ClusterError(
            "the local cluster needs Linux and root (it makes network namespaces and mounts): run it with sudo, "
            "or point KUBECONFIG at a cluster of yours, or use --provider kind where Docker runs"
        )
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    missing = _missing(packages)
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise paths.ClusterError(f"please install these packages (Debian names): {' '.join(missing)}")
    with paths.locked(paths.state_dir() / "packages.lock", waiting="waiting for another installation from Debian"):
        _install(_missing(packages))
    still = _missing(packages)
    if still:
        raise paths.ClusterError(f"still missing after apt-get install: {' '.join(still)}")


def _install(missing: list[str]) -> None:
    if not missing:
        return
    print(f"installing from Debian: {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
    ):
        done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise paths.ClusterError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-2000:]}")


def _missing(packages: dict[str, str]) -> list[str]:
    return sorted({package for program, package in packages.items() if shutil.which(program) is None})
