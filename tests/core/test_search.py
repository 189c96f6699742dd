"""Given a picture and an index, who answers, under each look."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.gallery import build_index
from core.index import Index
from core.look import Look
from core.picture import Picture, read
from core.search import Answer, Searcher
from core.steps import Steps
from tests.core.fakes import HAIR, FakeDetector, FakeExtractor, drawn_gallery, drawn_scene, save


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = drawn_gallery(tmp_path_factory.mktemp("gallery"))
    save(drawn_scene([], background=1001), root / "places" / "meadow.png")
    save(drawn_scene([("blue", 100, 110, 40)], background=2), root / "blue" / "copied.png")
    save(drawn_scene([("blue", 100, 110, 40)], background=2), root / "copies" / "again.png")
    return root


@pytest.fixture(scope="module")
def searcher(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    data = tmp_path_factory.mktemp("data")
    detector, extractor = FakeDetector(), FakeExtractor()
    build_index(gallery, data, detector, extractor)
    return Searcher(detector, extractor, Index.open_current(data, detector, extractor))


def picture_of(tmp_path: Path, *heads: tuple[str, int, int, int], background: int = 7) -> Picture:
    return read(save(drawn_scene(heads, background=background), tmp_path / "asked.png"))


def characters(answer: Answer, row: int = 0) -> list[str | None]:
    return [match.character for match in answer.rows[row].matches]


@pytest.mark.parametrize("name", sorted(HAIR))
@pytest.mark.parametrize("look", [Look.CHARACTER, Look.BOTH])
def test_the_right_character_comes_first(
    searcher: Searcher, tmp_path: Path, name: str, look: Look
) -> None:
    answer = searcher.search(picture_of(tmp_path, (name, 150, 110, 40)), look, 3)
    assert answer.face_count == 1
    assert not answer.fell_back
    assert characters(answer)[0] == name
    similarities = [match.similarity for match in answer.rows[0].matches]
    assert similarities == sorted(similarities, reverse=True)
    assert len(similarities) == 3


def test_each_of_the_three_largest_faces_has_a_row_largest_first(
    searcher: Searcher, tmp_path: Path
) -> None:
    heads = [("dark", 50, 60, 24), ("coral", 250, 60, 30), ("blue", 60, 180, 36)]
    heads.append(("emerald", 250, 180, 21))
    answer = searcher.search(picture_of(tmp_path, *heads), Look.CHARACTER, 2)
    assert answer.face_count == 4
    assert [characters(answer, row)[0] for row in range(len(answer.rows))] == [
        "blue",
        "coral",
        "dark",
    ]
    boxes = [row.face.box for row in answer.rows if row.face]
    assert boxes[0] == pytest.approx((24, 144, 97, 217), abs=1)


def test_a_box_below_the_threshold_is_no_face(searcher: Searcher, tmp_path: Path) -> None:
    answer = searcher.search(picture_of(tmp_path, ("blue", 150, 110, 8)), Look.BOTH, 2)
    assert answer.face_count == 0
    assert answer.fell_back


@pytest.mark.parametrize("look", [Look.CHARACTER, Look.BOTH])
def test_without_a_face_the_whole_picture_answers(
    searcher: Searcher, tmp_path: Path, look: Look
) -> None:
    asked = picture_of(tmp_path, background=1001)
    answer = searcher.search(asked, look, 2)
    assert answer.fell_back
    [row] = answer.rows
    assert row.face is None
    assert all(match.box is None for match in row.matches)
    feel = searcher.search(asked, Look.FEEL, 2)
    assert row.matches == feel.rows[0].matches
    assert not feel.fell_back


def test_feel_compares_whole_pictures_and_asks_no_detector(
    searcher: Searcher, tmp_path: Path
) -> None:
    asked = picture_of(tmp_path, ("coral", 200, 60, 40), background=0)
    steps = Steps()
    answer = searcher.search(asked, Look.FEEL, 9, steps)
    assert "detect" not in steps.seconds
    [row] = answer.rows
    assert row.face is None
    assert len({match.path for match in row.matches}) == 9


def test_character_leaves_out_pictures_without_a_face_and_both_does_not(
    searcher: Searcher, tmp_path: Path
) -> None:
    asked = picture_of(tmp_path, ("dark", 150, 110, 40), background=1001)
    everything = 100
    by_character = searcher.search(asked, Look.CHARACTER, everything)
    assert "places" not in characters(by_character)
    by_both = searcher.search(asked, Look.BOTH, everything)
    place = next(match for match in by_both.rows[0].matches if match.character == "places")
    assert place.box is None


def test_the_gallery_s_own_copy_of_the_picture_never_answers(
    searcher: Searcher, gallery: Path
) -> None:
    for path in ("blue/0.png", "places/meadow.png", "blue/copied.png"):
        for look in Look:
            answer = searcher.search(read(gallery / path), look, 100)
            answered = {match.path for match in answer.rows[0].matches}
            assert path not in answered
            if path == "blue/copied.png":
                assert "copies/again.png" not in answered


def test_two_files_of_one_content_answer_once(searcher: Searcher, tmp_path: Path) -> None:
    asked = picture_of(tmp_path, ("blue", 100, 110, 40))
    for look in Look:
        answered = [match.path for match in searcher.search(asked, look, 100).rows[0].matches]
        assert "blue/copied.png" in answered
        assert "copies/again.png" not in answered


def test_the_matching_face_is_in_pixels_of_the_gallery_s_picture(
    searcher: Searcher, tmp_path: Path
) -> None:
    asked = picture_of(tmp_path, ("amber", 110, 110, 34))
    matches = searcher.search(asked, Look.CHARACTER, 3).rows[0].matches
    boxes = {match.path: match.box for match in matches}
    assert boxes["amber/0.png"] == pytest.approx((76, 76, 145, 145), abs=1)
    assert boxes["amber/1.png"] == pytest.approx((112, 77, 189, 154), abs=1)


def test_every_step_is_timed(searcher: Searcher, tmp_path: Path) -> None:
    steps = Steps()
    searcher.search(picture_of(tmp_path, ("amber", 110, 110, 34)), Look.BOTH, 4, steps)
    assert set(steps.seconds) == {"detect", "embed", "search"}
    assert all(seconds >= 0 for seconds in steps.seconds.values())


def test_embedding_and_searching_can_be_done_apart(searcher: Searcher, tmp_path: Path) -> None:
    """A worker embeds in one place, with other requests, and searches in another."""
    asked = picture_of(tmp_path, ("amber", 110, 110, 34), ("blue", 250, 110, 30))
    seen = searcher.see(asked, Look.BOTH)
    assert searcher.find(seen, 4) == searcher.search(asked, Look.BOTH, 4)


class TestStrangers:
    """Where the extractor has a threshold, faces are held against it, whatever the look."""

    @staticmethod
    def judging(searcher: Searcher, threshold: float) -> Searcher:
        extractor = FakeExtractor()
        extractor.same_threshold = threshold
        return Searcher(FakeDetector(), extractor, searcher.index)

    @pytest.mark.parametrize("look", [Look.CHARACTER, Look.BOTH])
    def test_matches_are_judged_by_their_faces_alone(
        self, searcher: Searcher, tmp_path: Path, look: Look
    ) -> None:
        asked = picture_of(tmp_path, ("emerald", 150, 110, 40), background=999)
        [row] = self.judging(searcher, 0.75).search(asked, look, 100).rows
        assert not row.unknown
        for match in row.matches:
            assert match.same == (match.character == "emerald"), match

    @pytest.mark.parametrize("look", [Look.CHARACTER, Look.BOTH])
    def test_a_face_that_is_like_nobody_is_unknown(
        self, searcher: Searcher, tmp_path: Path, look: Look
    ) -> None:
        pixels = drawn_scene([("blue", 150, 110, 40)], background=5)
        blue = (pixels == HAIR["blue"]).all(2)
        pixels[blue] = (255, 0, 255)
        asked = read(save(pixels, tmp_path / "stranger.png"))
        [row] = self.judging(searcher, 0.9).search(asked, look, 3).rows
        assert row.unknown
        assert [match.same for match in row.matches] == [False] * 3

    def test_whole_pictures_are_never_called_the_same(
        self, searcher: Searcher, tmp_path: Path
    ) -> None:
        asked = picture_of(tmp_path, background=1001)
        for look in (Look.FEEL, Look.BOTH):
            [row] = self.judging(searcher, 0.1).search(asked, look, 3).rows
            assert [match.same for match in row.matches] == [None] * 3
            assert not row.unknown

    def test_without_a_threshold_nothing_is_said(self, searcher: Searcher, tmp_path: Path) -> None:
        [row] = searcher.search(picture_of(tmp_path, ("dark", 150, 110, 40)), Look.BOTH, 2).rows
        assert [match.same for match in row.matches] == [None, None]
        assert not row.unknown
