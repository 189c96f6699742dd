"""Where a training comes from is kept in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.files import alone
from core.train.origin import ORIGIN, Origin, begun

FIRST, NEXT = Origin("train a \udce9", "Free."), Origin("train a --resume")


def test_a_folder_that_is_refused_stays_as_it_is(tmp_path: Path) -> None:
    begun(tmp_path, FIRST, "checkpoint.pt", False)
    (tmp_path / "metrics.json").touch()
    before = (tmp_path / ORIGIN).read_bytes()
    begun(tmp_path, NEXT, "checkpoint.pt", False)
    begun(tmp_path, Origin("other", "Others."), "checkpoint.pt", True)
    assert (tmp_path / ORIGIN).read_bytes() == before


def test_a_folder_that_another_training_is_at_work_in_stays_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with alone(out), pytest.raises(BlockingIOError):
        begun(out, NEXT, "checkpoint.pt", False)
    assert not out.exists()


@pytest.mark.parametrize("damaged", [None, b"", b"[]", b"{}", b"\xff"])
def test_where_none_was_kept_the_command_that_goes_on_is_told(
    damaged: bytes | None, tmp_path: Path
) -> None:
    (tmp_path / "checkpoint.pt").touch()
    if damaged is not None:
        (tmp_path / ORIGIN).write_bytes(damaged)
    assert begun(tmp_path, NEXT, "checkpoint.pt", True) == NEXT


def test_the_first_command_is_kept_whatever_is_in_it(tmp_path: Path) -> None:
    begun(tmp_path / "new" / "out", FIRST, "checkpoint.pt", False)
    (tmp_path / "new" / "out" / "checkpoint.pt").touch()
    assert begun(tmp_path / "new" / "out", NEXT, "checkpoint.pt", True) == FIRST


def test_a_training_that_kept_nothing_to_go_on_from_begins_anew(tmp_path: Path) -> None:
    """The first command ended before its first checkpoint."""
    begun(tmp_path, FIRST, "checkpoint.pt", True)
    assert begun(tmp_path, NEXT, "checkpoint.pt", True) == NEXT
    (tmp_path / "checkpoint.pt").touch()
    assert begun(tmp_path, FIRST, "checkpoint.pt", True).command == NEXT.command
