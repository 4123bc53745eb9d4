"""For all tests."""

import ast
import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import hypothesis

# An example that is slow speaks of the machine, which does other things beside.
hypothesis.settings.register_profile("sandyard", deadline=None)
hypothesis.settings.load_profile("sandyard")


def whole(parse: Callable[..., Any]) -> Callable[..., Any]:
    """*parse*, one at a time, and nothing is collected meanwhile."""
    lock = threading.RLock()

    def alone(*args: Any, **kwargs: Any) -> Any:
        with lock:
            collecting = gc.isenabled()
            gc.disable()
            try:
                return parse(*args, **kwargs)
            finally:
                if collecting:
                    gc.enable()

    return alone


# Python 3.11 has one depth for all its parsers (gh-106905): a parser that runs while another does,
# in a finalizer that logs an error, say, makes the other fail with "AST constructor recursion depth
# mismatch". Hypothesis parses our modules while tests run.
if sys.version_info < (3, 12):
    ast.parse = whole(ast.parse)
