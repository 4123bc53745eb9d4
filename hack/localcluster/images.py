"""Container images without a registry: built here, cached, loaded into the cluster.

Static binaries become images by writing a docker-archive; the Debian base comes from
mmdebstrap, and the operator's image is built by buildah from the project's Containerfile,
the same file that others build on a public base.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable

from localcluster import components, host, paths, tools

__all__ = ["COREDNS_IMAGE", "LANGUAGES_IMAGE", "OPERATOR_IMAGE", "PYTHON_IMAGE", "busybox", "coredns", "languages",
           "operator", "pause", "python", "ready"]  # fmt: skip

OPERATOR_IMAGE = "localhost/sandyard/operator:dev"
# The examples name the public image; where there is no registry, this cluster loads Debian's
# CPython of the same series under that name, so that the examples work as they stand.
PYTHON_IMAGE = "python:3.11-slim-bookworm"
BUSYBOX_IMAGE = "localhost/sandyard/busybox:1"
COREDNS_IMAGE = "localhost/sandyard/coredns:1"
LANGUAGES_IMAGE = "localhost/sandyard/languages:1"
_BASE = "localhost/sandyard/base:bookworm"
_EPOCH = 0


def pause() -> pathlib.Path:
    """The sandbox (pause) image: catatonit, which reaps and ends on TERM."""
    program = _program("catatonit")
    return _cached("pause", [program], lambda target: _write(
        target, components.PAUSE_IMAGE, [_layer({"/catatonit": program})], ["/catatonit", "-P"]))  # fmt: skip


def busybox() -> pathlib.Path:
    """A tiny image with busybox' shell and tools, for tests."""
    program = _program("busybox")
    applets = subprocess.run([str(program), "--list"], text=True, capture_output=True, check=True).stdout.split()
    links = {f"/bin/{applet}": "/bin/busybox" for applet in applets if applet != "busybox"}
    return _cached("busybox", [program], lambda target: _write(
        target, BUSYBOX_IMAGE, [_layer({"/bin/busybox": program}, links)], ["/bin/sh"]))  # fmt: skip


def coredns() -> pathlib.Path:
    """The name server alone; see `localcluster.dns`."""
    program = tools.ensure(["coredns"])["coredns"] / "coredns"
    return _cached("coredns", [program], lambda target: _write(
        target, COREDNS_IMAGE, [_layer({"/coredns": program})], ["/coredns"]))  # fmt: skip


def base() -> pathlib.Path:
    """Debian's root file system with Python, as a tar file (about 220 MB)."""
    target = _base()
    if target.exists():
        return target
    host.require(host.BUILD_PACKAGES)
    target.parent.mkdir(parents=True, exist_ok=True)
    with paths.locked(target.with_suffix(".lock"), waiting="waiting for another build of the Debian base"):
        if target.exists():
            return target
        print("building the Debian base of the images (once, about a minute)", flush=True)
        scratch = target.with_suffix(f".{os.getpid()}.tar")
        packages = "python3,python3-venv,ca-certificates"
        _run(["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(scratch)])
        scratch.rename(target)
    return target


def _base() -> pathlib.Path:
    return paths.cache_dir() / "images" / "base-bookworm-1.tar"


def _languages() -> pathlib.Path:
    return paths.cache_dir() / "images" / "languages-bookworm-1.tar"


def python() -> pathlib.Path:
    """A Python image for sandboxes (Debian's CPython 3.11)."""
    root = base()
    links = {"/usr/local/bin/python": "/usr/bin/python3", "/usr/local/bin/python3": "/usr/bin/python3"}
    return _cached("python", [root], lambda target: _write(
        target, PYTHON_IMAGE, [root, _layer({}, links)], ["python3"]))  # fmt: skip


def languages() -> pathlib.Path:
    """An image with every language that ``run_code`` knows, for tests (about 1 GB, built once in some minutes)."""
    target = _languages()
    if target.exists():
        return target
    host.require(host.BUILD_PACKAGES)
    target.parent.mkdir(parents=True, exist_ok=True)
    with paths.locked(target.with_suffix(".lock"), waiting="waiting for another build of the languages image"):
        if target.exists():
            return target
        print("building the image of all languages (once, some minutes)", flush=True)
        with tempfile.TemporaryDirectory(prefix="sandyard-languages-", dir=target.parent) as folder:
            root, scratch = pathlib.Path(folder) / "root.tar", pathlib.Path(folder) / "image.tar"
            packages = "python3,nodejs,node-typescript,golang-go,rustc,ruby"
            _run(["mmdebstrap", "--variant=minbase", "--aptopt=APT::Install-Recommends false",
                  f"--include={packages}", "bookworm", str(root)])  # fmt: skip
            _write(scratch, LANGUAGES_IMAGE, [root], ["/bin/bash"])
            scratch.rename(target)
    return target


def operator() -> pathlib.Path:
    """The operator's own image, built from the Containerfile; cached by what goes into it."""
    base()
    return _cached("operator", _of_operator(), _build_operator)


def _of_operator() -> list[pathlib.Path]:
    """What goes into the operator's image."""
    top = paths.REPOSITORY
    inputs = [top / "Containerfile", top / "pyproject.toml", top / "requirements.lock", top / "README.md"]
    inputs += sorted(path for path in (top / "operator").rglob("*") if _is_source(path))
    return [_base(), *inputs]


def ready() -> list[pathlib.Path]:
    """Archives of the big images that have been built already; what changes the most often comes last."""
    if not _base().exists():
        return []
    return [target for target in (_target("python", [_base()]), _languages(), _target("operator", _of_operator()))
            if target.exists()]  # fmt: skip


def _is_source(path: pathlib.Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and not any(p.endswith(".egg-info") for p in path.parts)


def _build_operator(target: pathlib.Path) -> None:
    host.require(host.BUILD_PACKAGES)
    storage = paths.cache_dir() / "buildah"
    buildah = ["buildah", "--root", str(storage / "root"), "--runroot", str(storage / "run"),
               "--storage-driver", "overlay"]  # fmt: skip
    if subprocess.run([*buildah, "inspect", "--type", "image", _BASE], capture_output=True, check=False).returncode:
        with tempfile.TemporaryDirectory(prefix="sandyard-base-") as folder:
            archive = pathlib.Path(folder) / "base.tar"
            _write(archive, _BASE, [base()], ["/bin/sh"])
            _run([*buildah, "pull", "--quiet", f"docker-archive:{archive}"])
    arguments = ["bud", "--isolation", "chroot", "--network", "host", "--layers",
                 "--build-arg", f"BASE={_BASE}", "--tag", OPERATOR_IMAGE]  # fmt: skip
    # Behind a proxy that inspects TLS the machine's own CA bundle is needed to download
    # packages; it is mounted for the build and never becomes part of the image.
    certificates = pathlib.Path("/etc/ssl/certs")
    if (certificates / "ca-certificates.crt").exists():
        arguments += ["--volume", f"{certificates}:{certificates}:ro",
                      "--build-arg", f"PIP_CERT={certificates / 'ca-certificates.crt'}"]  # fmt: skip
    _run([*buildah, *arguments, "--file", "Containerfile", str(paths.REPOSITORY)])
    target.unlink(missing_ok=True)
    _run([*buildah, "push", "--quiet", OPERATOR_IMAGE, f"docker-archive:{target}:{OPERATOR_IMAGE}"])


def _target(name: str, inputs: Iterable[pathlib.Path]) -> pathlib.Path:
    """Where the archive lies that is built of *inputs*."""
    digest = hashlib.sha256()
    for path in inputs:
        # A big base is known by its size and age; sources by their content.
        stat = path.stat()
        digest.update(str(path.name).encode())
        digest.update(f"{stat.st_size}".encode() if stat.st_size > 50_000_000 else path.read_bytes())
    return paths.cache_dir() / "images" / f"{name}-{digest.hexdigest()[:12]}.tar"


def _cached(name: str, inputs: Iterable[pathlib.Path], build: Callable[[pathlib.Path], None]) -> pathlib.Path:
    target = _target(name, inputs)
    folder = target.parent
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with paths.locked(folder / f"{name}.lock", waiting=f"waiting for another build of the {name} image"):
        if target.exists():
            return target
        print(f"building the {name} image", flush=True)
        started = time.monotonic()
        scratch = folder / f".{name}-{os.getpid()}.tar"
        try:
            build(scratch)
            scratch.rename(target)
        finally:
            scratch.unlink(missing_ok=True)
        for old in folder.glob(f"{name}-*.tar"):
            if old != target:
                old.unlink(missing_ok=True)
        print(f"built the {name} image in {time.monotonic() - started:.0f} s", flush=True)
    return target


def _layer(files: dict[str, pathlib.Path], links: dict[str, str] | None = None) -> bytes:
    """A layer tar with executable *files* (path in image -> file here) and symbolic *links*."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, source in files.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            data = source.read_bytes()
            info.size, info.mode, info.mtime = len(data), 0o755, _EPOCH
            archive.addfile(info, io.BytesIO(data))
        for path, destination in (links or {}).items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.type, info.linkname, info.mtime = tarfile.SYMTYPE, destination, _EPOCH
            archive.addfile(info)
    return buffer.getvalue()


def _write(target: pathlib.Path, name: str, layers: list[bytes | pathlib.Path], command: list[str]) -> None:
    """Write a docker-archive: manifest.json, a config, one tar a layer."""
    digests = [_digest(layer) for layer in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        # buildah counts the layers by it.
        "history": [{"created_by": "hack/cluster"} for _ in layers],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    blob = json.dumps(config, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(blob).hexdigest()}.json"
    layer_names = [f"{digest}.tar" for digest in digests]
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": layer_names}]
    with tarfile.open(target, "w") as archive:
        _add(archive, "manifest.json", json.dumps(manifest).encode())
        _add(archive, config_name, blob)
        for layer_name, layer in zip(layer_names, layers, strict=True):
            if isinstance(layer, bytes):
                _add(archive, layer_name, layer)
            else:
                archive.add(layer, layer_name)


def _digest(layer: bytes | pathlib.Path) -> str:
    if isinstance(layer, bytes):
        return hashlib.sha256(layer).hexdigest()
    with layer.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(data), _EPOCH
    archive.addfile(info, io.BytesIO(data))


def _program(name: str) -> pathlib.Path:
    found = shutil.which(name)
    if found is None:
        raise paths.ClusterError(f"{name} is not installed")
    return pathlib.Path(found).resolve()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()
        raise paths.ClusterError(f"{' '.join(command)} failed:\n{output[-3000:]}")
