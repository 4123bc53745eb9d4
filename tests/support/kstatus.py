"""What kstatus makes of a custom resource: by it Flux, and Helm and kubectl's successors, judge health.

`judge` has its rules in Python; `judge_all` asks kstatus itself.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from localcluster import tools
from pages.judges import kstatus as judge

__all__ = ["judge", "judge_all"]


def judge_all(bodies: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the Go module sigs.k8s.io/cli-utils says of each; built once, cached beside the cluster's tools."""
    program = tools.ensure(["kstatus"])["kstatus"] / "kstatus"
    lines = "\n".join(json.dumps(body) for body in bodies)
    done = subprocess.run([str(program)], input=lines, text=True, capture_output=True, timeout=60, check=True)
    return done.stdout.split()
