"""Runs pytest again and again without starting Python anew: ``python -m tests.support.warm_pytest FOLDER``.

What takes long to import and is not ours is imported once; each line of standard input, a JSON
list of arguments, is then one run in a forked child, within FOLDER. The answer is a line with
the child's exit status.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

__all__ = ["main"]

# Of the tests and of what they test. Nothing of ours: a child has to read it as it is by then.
_SLOW = ("aiohttp.web", "click.testing", "hypothesis.stateful", "kopf", "kubernetes.client", "kubernetes.config",
         "msgspec", "orjson", "prometheus_client", "pydantic", "pytest", "uvloop", "yaml")  # fmt: skip


def main(folder: str) -> None:
    """Serve until standard input ends."""
    for name in _SLOW:
        importlib.import_module(name)
    ours = [name for name in sys.modules if name.partition(".")[0] in ("sandyard", "localcluster")]
    assert not ours, f"{ours} would be the old ones in every child"
    os.chdir(folder)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_run(json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(arguments: list[str]) -> int:
    """In the child: the output goes to the file that the first argument names."""
    import pytest

    output, *arguments = arguments
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        status = int(pytest.main(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    return status


if __name__ == "__main__":
    main(sys.argv[1])
