"""What the command line says without a cluster."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from sandyard.cli.main import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_each_shell(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0, done.output
    assert "_SANDYARD_COMPLETE" in done.output
