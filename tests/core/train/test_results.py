"""One training at a time writes into a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.files import alone
from core.train import detector, extractor, refiner

TRAININGS: dict[str, Callable[[Path, Path], object]] = {
    "extractor": extractor.train,
    "detector": lambda folder, out: detector.train([folder], out),
    "refiner": lambda folder, out: refiner.train([folder], folder, out),
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_of_two_trainings_into_one_folder_the_second_is_refused_at_once(
    tmp_path: Path, kind: str
) -> None:
    """Before anything is read: there are no pictures here."""
    out = tmp_path / "runs" / "result"
    with (
        alone(out),
        pytest.raises(BlockingIOError, match="another command is writing this") as refused,
    ):
        TRAININGS[kind](tmp_path / "pictures", out)
    assert refused.value.filename == str(out)
    assert not out.exists()
    assert not list(out.parent.iterdir())
