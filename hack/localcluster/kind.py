"""The same cluster in Docker, by kind, for machines that have Docker."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

from localcluster import paths, tools

__all__ = ["down", "up"]

_FOLDER = pathlib.Path(__file__).with_name("kind")


def up(name: str) -> pathlib.Path:
    """Create the kind cluster *name* with runsc and a policy-enforcing CNI in its node; return its kubeconfig."""
    _require_docker()
    folders = tools.ensure(["kind", "gvisor", "kubernetes"])
    target = paths.state_dir() / "kind" / f"{name}.kubeconfig"
    target.parent.mkdir(parents=True, exist_ok=True)
    config = (_FOLDER / "cluster.yaml").read_text().replace("GVISOR_FOLDER", str(folders["gvisor"]))
    kind = str(folders["kind"] / "kind")
    known = subprocess.run([kind, "get", "clusters"], text=True, capture_output=True, check=True).stdout.split()
    if name not in known:
        command = [kind, "create", "cluster", "--name", name, "--config", "-", "--kubeconfig", str(target)]
        subprocess.run(command, input=config, text=True, check=True)
    else:
        subprocess.run([kind, "export", "kubeconfig", "--name", name, "--kubeconfig", str(target)], check=True)
    return target


def down(name: str) -> None:
    """Delete the kind cluster *name*."""
    _require_docker()
    folders = tools.ensure(["kind"])
    subprocess.run([str(folders["kind"] / "kind"), "delete", "cluster", "--name", name], check=True)
    (paths.state_dir() / "kind" / f"{name}.kubeconfig").unlink(missing_ok=True)


def load(name: str, archive: pathlib.Path) -> None:
    """Load an image archive into the node of the kind cluster *name*."""
    folders = tools.ensure(["kind"])
    command = [str(folders["kind"] / "kind"), "load", "image-archive", "--name", name, str(archive)]
    subprocess.run(command, check=True)


def _require_docker() -> None:
    found = shutil.which("docker")
    if found is None or subprocess.run([found, "info"], capture_output=True, check=False).returncode != 0:
        raise paths.ClusterError("--provider kind needs a running Docker; here use --provider local (the default)")
