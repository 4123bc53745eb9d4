"""The package ships its types: a type checker helps a program that uses it, on both faces."""

from __future__ import annotations

import pathlib
import re

from mypy import api

from localcluster import paths

PROGRAM = pathlib.Path(__file__).with_name("typed_program.py")


def check(program: pathlib.Path) -> str:
    settings = [f"--config-file={paths.REPOSITORY / 'pyproject.toml'}"]
    settings += [f"--cache-dir={paths.REPOSITORY / '.mypy_cache'}", "--no-error-summary", "--hide-error-context"]
    printed, trouble, _ = api.run([*settings, str(program)])
    assert not trouble
    return printed


def test_a_program_has_types_and_a_wrong_argument_is_an_error(tmp_path: pathlib.Path) -> None:
    # A mark that is not needed is an error too, so each marked line is refused as it says.
    assert check(PROGRAM) == ""
    marked = {number for number, line in enumerate(PROGRAM.read_text().splitlines(), 1) if "# type: ignore[" in line}
    bare = tmp_path / "bare_program.py"
    bare.write_text(re.sub(r"  # type: ignore.*", "", PROGRAM.read_text()))
    refused = {int(number) for number in re.findall(r"^[^:\n]+:(\d+): error", check(bare), re.MULTILINE)}
    assert refused == marked
