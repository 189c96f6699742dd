"""A sentence for a chat and one for the terminal: who may read where things lie."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from core.problem import Problem
from core.texts import languages

GALLERY = Path("/home/mika/private/art")


@pytest.mark.parametrize("key", ["gallery_missing", "gallery_empty"])
@pytest.mark.parametrize("language", sorted(languages()))
def test_a_chat_reads_a_folders_name_and_not_where_it_lies(key: str, language: str) -> None:
    sentence = Problem(key, path=GALLERY).sentence(language)
    assert " art" in sentence
    assert "mika" not in sentence


def test_what_the_system_says_of_a_file_does_not_name_it_in_a_chat() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", str(GALLERY / "catalogue.sqlite"))
    problem = Problem("data_unwritable", path=GALLERY, reason=full)
    assert problem.sentence().startswith(
        "The data folder art cannot be written: No space left on device. "
    )
    assert "mika" not in Problem("data_unwritable", path=GALLERY, reason=OSError()).sentence()


def test_the_terminal_and_the_log_have_the_whole_path() -> None:
    assert f"The gallery folder {GALLERY} does not exist" in str(
        Problem("gallery_missing", path=GALLERY)
    )


@pytest.mark.parametrize("path", [Path(), Path("../"), Path("/")])
def test_in_the_terminal_a_folder_has_its_name(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"gallery {path.resolve()}. Put" in str(Problem("gallery_empty", path=path))


@pytest.mark.parametrize("path", [Path(), Path("/")])
def test_a_path_without_a_name_stands_as_it_is(path: Path) -> None:
    assert f" {path} " in Problem("gallery_missing", path=path).sentence()
