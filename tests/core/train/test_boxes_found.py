"""Boxes are kept while they are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from core.train import boxes_found as module
from core.train.boxes_found import Proposed, boxes_found

COUNT = 40


class Looking:
    """Finds as many boxes in a picture as its number says, less all threes; notes what it sees."""

    def __init__(self, stops_at: int = COUNT) -> None:
        self.seen: list[int] = []
        self._stops_at = stops_at

    def __call__(self, numbers: range) -> list[Proposed]:
        if self._stops_at in numbers:
            raise KeyboardInterrupt
        self.seen += numbers
        return [
            (np.full((n % 3, 4), n, np.float32), np.full(n % 3, n / 100, np.float32))
            for n in numbers
        ]


def same(found: list[Proposed], others: list[Proposed]) -> bool:
    return len(found) == len(others) and all(
        np.array_equal(one, other)
        for each, another in zip(found, others, strict=True)
        for one, other in zip(each, another, strict=True)
    )


def test_every_picture_is_looked_at_once_and_told(tmp_path: Path) -> None:
    look = Looking()
    told: list[tuple[int, int]] = []
    found = boxes_found(look, COUNT, tmp_path / "kept", "one", lambda d, t: told.append((d, t)))
    assert look.seen == list(range(COUNT))
    assert same(found, Looking()(range(COUNT)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (COUNT, COUNT)


def test_what_was_found_is_not_looked_for_again_with_the_same_key(tmp_path: Path) -> None:
    first = boxes_found(Looking(), COUNT, tmp_path / "kept", "one")
    again, other = Looking(), Looking()
    assert same(boxes_found(again, COUNT, tmp_path / "kept", "one"), first)
    assert again.seen == []
    boxes_found(other, COUNT, tmp_path / "kept", "another")
    assert len(other.seen) == COUNT


def test_what_was_found_before_a_stop_is_not_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS_UNTIL_KEPT", 0.0)
    stopped, again = Looking(stops_at=35), Looking()
    with pytest.raises(KeyboardInterrupt):
        boxes_found(stopped, COUNT, tmp_path / "kept", "one")
    found = boxes_found(again, COUNT, tmp_path / "kept", "one")
    assert stopped.seen + again.seen == list(range(COUNT))
    assert same(found, Looking()(range(COUNT)))


def test_not_every_look_writes_all_that_was_found(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        boxes_found(Looking(stops_at=35), COUNT, tmp_path / "kept", "one")
    assert not (tmp_path / "kept").exists()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"no boxes" * 99),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "of something else": lambda path: save_file({"boxes": np.zeros((3, 4))}, path),
    "without scores": lambda path: rewritten(path, scores=None),
    "with too few boxes": lambda path: rewritten(path, boxes=np.zeros((2, 4), np.float32)),
    "with too few scores": lambda path: rewritten(path, scores=np.zeros(2, np.float32)),
}


def rewritten(path: Path, **others: np.ndarray | None) -> None:
    """Put other tensors, or none, into a file under the same key."""
    with safe_open(path, framework="np") as file:
        key = file.metadata()
    tensors = load_file(path) | others
    save_file({name: value for name, value in tensors.items() if value is not None}, path, key)


@pytest.mark.parametrize("damage", DAMAGES)
def test_boxes_that_were_kept_and_are_damaged_are_found_anew(damage: str, tmp_path: Path) -> None:
    cache = tmp_path / "kept"
    first = boxes_found(Looking(), COUNT, cache, "one")
    whole = cache.read_bytes()
    DAMAGES[damage](cache)
    again = Looking()

    assert same(boxes_found(again, COUNT, cache, "one"), first)

    assert len(again.seen) == COUNT
    assert cache.read_bytes() == whole
