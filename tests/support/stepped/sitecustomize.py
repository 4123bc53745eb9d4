"""Steps the wall clock of a Python process that has this folder on its path, by the seconds in STEPPED_CLOCK_FILE."""

import os
import time

_inner = time.time
_file = os.environ.get("STEPPED_CLOCK_FILE", "")


def _stepped() -> float:
    try:
        with open(_file) as step:
            return _inner() + float(step.read() or 0)
    except OSError:
        return _inner()


time.time = _stepped
