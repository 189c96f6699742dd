"""Commands of the terminal, run in the process that tests them."""

from __future__ import annotations

import pytest

from cli.main import main


def ended(*arguments: object) -> int:
    """Run `familiar` with these arguments; its exit code."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)
