"""What the containerd of a new cluster holds from the start: images that were imported before, once.

An import reads, digests and unpacks every byte of an image: a minute of a core for each gigabyte, in every cluster.
Here it is done by a containerd of its own, whose folder is kept in the cache. A new cluster gets that folder by hard
links: nobody ever changes a blob, or a file of a layer, once it is there.
"""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence

from localcluster import paths, processes, tools

__all__ = ["plant"]

# What is never changed in place, and what is: the databases.
_LINKED = ("io.containerd.content.v1.content/blobs", "io.containerd.snapshotter.v1.overlayfs/snapshots")
_COPIED = ("io.containerd.snapshotter.v1.overlayfs/metadata.db", "io.containerd.metadata.v1.bolt/meta.db")
_PATIENCE_SECONDS = 300
_KEPT_SECONDS = 3600


def plant(root: pathlib.Path, archives: Sequence[pathlib.Path]) -> bool:
    """Make *root*, the folder of a containerd that has not run yet, with the images of *archives* in it.

    Returns
    -------
    bool
        False where that cannot be done, as when cache and cluster share no file system: nothing is there then, and
        all has to be imported.
    """
    folder = paths.cache_dir() / "seeds"
    with paths.locked(folder / "lock", waiting="waiting for another cluster that prepares its images"):
        try:
            seed = _grown(folder, archives)
            _link(seed, root)
        except OSError as error:
            print(f"images are not prepared, but imported: {error}", flush=True)
            shutil.rmtree(root, ignore_errors=True)
            return False
        _clear(folder, archives)
    return True


def _grown(folder: pathlib.Path, archives: Sequence[pathlib.Path]) -> pathlib.Path:
    """The seed with all of *archives*, grown from the one with all but the last, which are imported no more."""
    seed = folder / _key(archives)
    if seed.exists():
        seed.touch()
        return seed
    with tempfile.TemporaryDirectory(prefix="growing-", dir=folder) as place:
        root = pathlib.Path(place) / "root"
        if archives[:-1]:
            _link(_grown(folder, archives[:-1]), root)
        print(f"importing {archives[-1].name} (once)", flush=True)
        _import(pathlib.Path(place), root, archives[-1])
        kept = pathlib.Path(place) / "kept"
        _link(root, kept)
        kept.rename(seed)
    return seed


def _key(archives: Sequence[pathlib.Path]) -> str:
    """Name of a seed: which containerd has imported which archives, in this order."""
    containerd = tools.ensure(["containerd"])["containerd"].name
    text = "\n".join([containerd, *(archive.name for archive in archives)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    for part in _LINKED:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        # In one program: there are tens of thousands of files.
        command = ["cp", "--archive", "--link", str(source / part), str(target / part)]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise OSError(done.stderr.strip()[-800:])
    for part in _COPIED:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / part, target / part)


def _clear(folder: pathlib.Path, archives: Sequence[pathlib.Path]) -> None:
    """Remove the seeds of earlier images; other checkouts, whose operator is another, use theirs within the hour."""
    stay = {_key(archives[:count]) for count in range(1, len(archives) + 1)}
    for old in folder.iterdir():
        if old.is_dir() and old.name not in stay and time.time() - old.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(old)


def _import(place: pathlib.Path, root: pathlib.Path, archive: pathlib.Path) -> None:
    """Import *archive* into *root* by a containerd that runs for this alone."""
    programs = tools.ensure(["containerd"])["containerd"]
    socket, config = place / "s", place / "containerd.toml"
    config.write_text(
        f"version = 3\nroot = '{root}'\nstate = '{place / 'state'}'\n"
        "disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', "
        "'io.containerd.cri.v1.runtime', 'io.containerd.internal.v1.opt']\n"
        f"[grpc]\naddress = '{socket}'\n[ttrpc]\naddress = '{socket}.ttrpc'\n"
    )
    with (place / "containerd.log").open("wb") as log:
        process = subprocess.Popen(
            [str(programs / "containerd"), f"--config={config}"], stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        ctr = [str(programs / "ctr"), "--address", str(socket), "--namespace", "k8s.io"]
        processes.wait_until("containerd ready", _answers([*ctr, "version"]), _PATIENCE_SECONDS)
        done = subprocess.run([*ctr, "images", "import", str(archive)], text=True, capture_output=True, check=False)
        if done.returncode != 0:
            # Another checkout may have built another operator meanwhile, and removed this one.
            raise OSError(f"could not load {archive}: {done.stderr.strip()[-800:]}")
    finally:
        process.terminate()
        process.wait(60)


def _answers(command: list[str]) -> Callable[[], bool]:
    return lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0
