"""What the machine's kernel counts of pods, in its cgroups of version 1 or 2."""

from __future__ import annotations

import os
import pathlib
from typing import Final

__all__ = ["ROOT", "files", "of_pod"]

ROOT: Final = pathlib.Path("/sys/fs/cgroup")


def of_pod(uid: str, name: str) -> list[pathlib.Path]:
    """Files called *name* of a pod's cgroup and those below, its own first."""
    return [path for spelt in (uid, uid.replace("-", "_")) for path in files(f"pod{spelt}", name)]


def files(of: str, name: str) -> list[pathlib.Path]:
    """Files called *name* of the cgroups whose path has *of* in it.

    Others' come and go meanwhile, also while their folder is read: `pathlib.Path.glob` ends with an error then.
    """
    return [pathlib.Path(folder, name) for folder, _, names in os.walk(ROOT) if of in f"{folder}/" and name in names]
