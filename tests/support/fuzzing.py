"""``python -m tests.support.fuzzing NAME OPTION...``: atheris tries a parser; the options are those of libFuzzer."""

from __future__ import annotations

import pathlib
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=["sandyard"]):
    from tests.support.parsers import PARSERS

if __name__ == "__main__":
    tried = PARSERS[sys.argv[1]]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(tried.seeds):
            pathlib.Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], corpus, *sys.argv[2:]], tried.take)
        atheris.Fuzz()
