"""Certificates and kubeconfigs of a cluster, made with openssl."""

from __future__ import annotations

import base64
import json
import pathlib
import subprocess

from localcluster import paths

__all__ = ["admin_kubeconfig", "issue", "kubeconfig", "make"]

_DAYS = "3650"
# Elliptic: an RSA key takes tenths of a second to find, and each connection a signature.
_KEY = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make(folder: pathlib.Path, server_addresses: list[str], node_name: str, node_address: str) -> None:
    """Make the CA and every certificate; keeps those that are already there."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if (folder / "done").exists():
        return
    _openssl("req", "-x509", *_NEW_KEY, "-days", _DAYS, "-subj", "/CN=sandyard-ca",
             "-keyout", folder / "ca.key", "-out", folder / "ca.crt")  # fmt: skip
    _openssl("genpkey", *_KEY, "-out", folder / "sa.key")
    _openssl("pkey", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub")
    names = ["IP:" + address for address in server_addresses]
    names += ["DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", "DNS:localhost"]
    issue(folder, "apiserver", "/CN=kube-apiserver", ",".join(names))
    issue(folder, "admin", "/O=system:masters/CN=kubernetes-admin")
    issue(folder, "controller-manager", "/CN=system:kube-controller-manager")
    issue(folder, "scheduler", "/CN=system:kube-scheduler")
    issue(folder, "kube-proxy", "/CN=system:kube-proxy")
    issue(folder, "kubelet-client", "/O=system:masters/CN=apiserver-kubelet-client")
    issue(folder, "kubelet", f"/O=system:nodes/CN=system:node:{node_name}", f"IP:{node_address},DNS:{node_name}")
    (folder / "done").touch()


def issue(folder: pathlib.Path, name: str, subject: str, alternative_names: str = "DNS:sandyard.invalid") -> None:
    """Write ``name.crt`` and ``name.key``, signed by the CA in *folder*."""
    extensions = folder / f"{name}.ext"
    extensions.write_text(
        f"subjectAltName={alternative_names}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n"
    )
    _openssl("req", *_NEW_KEY, "-subj", subject,
             "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")  # fmt: skip
    _openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
             "-CAcreateserial", "-days", _DAYS, "-extfile", extensions, "-out", folder / f"{name}.crt")  # fmt: skip


def kubeconfig(folder: pathlib.Path, name: str, server: str, target: pathlib.Path) -> pathlib.Path:
    """Write a kubeconfig (JSON, which is YAML too) for the certificate *name*."""

    def data(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandyard", "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": data(f"{name}.crt"),
                    "client-key-data": data(f"{name}.key"),
                },
            }
        ],
        "contexts": [{"name": "sandyard", "context": {"cluster": "sandyard", "user": name}}],
        "current-context": "sandyard",
    }
    paths.write(target, json.dumps(config, indent=1))
    target.chmod(0o600)
    return target


def admin_kubeconfig(cluster: paths.Cluster) -> pathlib.Path:
    """Write the administrator's kubeconfig of *cluster*."""
    return kubeconfig(cluster.pki, "admin", cluster.server, cluster.kubeconfig)


def _openssl(*arguments: object) -> None:
    command = ["openssl", *(str(argument) for argument in arguments)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise paths.ClusterError(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-1000:]}")
