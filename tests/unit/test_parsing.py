"""A parser that runs within another, as a finalizer's may, harms neither (``tests/conftest.py``)."""

import ast
import gc
from pathlib import Path


class Logs:
    """Refers to itself, so that a collection ends it; then it parses, as a logged traceback does."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        deeper(17)


def deeper(calls: int) -> None:
    if calls:
        deeper(calls - 1)
    else:
        ast.parse("x = 1")


def test_what_is_collected_while_a_module_is_parsed_may_parse_itself() -> None:
    source = Path(ast.__file__).read_text(encoding="utf-8")
    threshold = gc.get_threshold()
    gc.set_threshold(50)
    try:
        for _ in range(20):
            Logs()
            ast.parse(source)
    finally:
        gc.set_threshold(*threshold)
    assert gc.isenabled()
