"""`familiar compare`: what is said of two pictures."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

import cli.compare
from core.models import Detector, Extractor
from core.settings import ModelSettings
from tests.cli import commands
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_scene, save


@pytest.fixture
def threshold(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The fakes as models; their threshold and its share of false accepts are in the list."""
    value: list[float | None] = [0.75, None]

    def load(settings: ModelSettings, crops: bool) -> tuple[Detector | None, Extractor]:
        extractor = FakeExtractor()
        extractor.same_threshold, extractor.false_accepts = value
        return None if crops else FakeDetector(), extractor

    monkeypatch.setattr(cli.compare, "models_for", load)
    return value


ended = partial(commands.ended, "compare")


def test_the_verdict_its_similarity_and_the_threshold(
    tmp_path: Path, threshold: list[float | None], capsys: pytest.CaptureFixture[str]
) -> None:
    blue = save(drawn_scene([("blue", 150, 110, 40)], background=3), tmp_path / "blue.png")
    again = save(drawn_scene([("blue", 150, 110, 34)], background=9), tmp_path / "again.png")
    coral = save(drawn_scene([("coral", 150, 110, 40)], background=3), tmp_path / "coral.png")
    nobody = save(drawn_scene([]), tmp_path / "nobody.png")

    assert ended(blue, again) == 0
    said = "The same character: similarity 0.886, and 0.750 or more is the same."
    assert capsys.readouterr().out.strip() == said
    assert ended(blue, coral) == 0
    assert capsys.readouterr().out.startswith("Not the same character: similarity 0.349,")
    assert ended(blue, nobody) == 0
    assert capsys.readouterr().out.strip() == f"No face was found in {nobody}."
    assert ended(nobody, nobody, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    nothing = {"similarity": None, "threshold": 0.75, "false_accepts": None, "same": None}
    assert told == {"faces": [None, None], **nothing}
    threshold[1] = 0.015
    assert ended(blue, again) == 0
    further = ", which 1.5% of pairs of different characters reached when it was chosen."
    assert capsys.readouterr().out.strip() == said.removesuffix(".") + further
    assert ended(blue, again, "--json") == 0
    assert json.loads(capsys.readouterr().out)["false_accepts"] == 0.015
    threshold[0] = None
    assert ended(blue, blue) == 0
    assert "Similarity 1.000. This extractor has no threshold" in capsys.readouterr().out
    assert ended(blue, tmp_path / "missing.png") == 1
    assert "missing.png cannot be read" in capsys.readouterr().err
