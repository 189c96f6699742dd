"""A file is there whole or not at all."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from safetensors.numpy import save_file

from core.files import partial_folder, replacing, write_text


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["metrics.json"]


def test_what_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["metrics.json"]


def test_a_full_disk_is_told_with_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries have errors of their own for it, of which no user would know what to do."""
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(OSError, match="No space left") as plain, replacing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert plain.value.filename == str(path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    with pytest.raises(OSError, match="No space left") as library, replacing(path):
        raise RuntimeError("unexpected pos 177152 vs 177048")
    assert library.value.filename == str(path)
    assert names_in(tmp_path) == []


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "metrics.json"
    with pytest.raises(FileNotFoundError) as told:
        write_text(path, "{}")
    assert told.value.filename == str(path)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_tensors_may_be_read_by_whoever_may_read_other_new_files(
    tmp_path: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "weights.safetensors") as partial:
            save_file({"a": np.zeros(3, np.float32)}, partial)
    finally:
        os.umask(before)
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == mode


def test_a_folder_is_written_beside_its_place_and_gone_at_the_end(tmp_path: Path) -> None:
    with partial_folder(tmp_path / "above" / "out") as partial:
        (partial / "whole").write_text("moved")
        (partial / "half").write_text("not moved")
        (partial / "whole").rename(tmp_path / "whole")
    assert names_in(tmp_path) == ["above", "whole"]
    assert names_in(tmp_path / "above") == []


def test_of_two_that_write_one_place_the_second_is_refused(tmp_path: Path) -> None:
    with partial_folder(tmp_path / "out") as partial:
        (partial / "half").write_text("first")
        with (
            pytest.raises(BlockingIOError, match=r"another command is writing this.*out"),
            partial_folder(tmp_path / "out"),
        ):
            pass
        with partial_folder(tmp_path / "other"):
            pass
        assert names_in(partial) == ["half"]
    with partial_folder(tmp_path / "out") as partial:
        assert names_in(partial) == []
    assert names_in(tmp_path) == []


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    killed = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom core.files import partial_folder\n"
        "with partial_folder(Path(sys.argv[1])) as partial:\n"
        "    (partial / 'half').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", killed, tmp_path / "out"], check=False)
        assert done.returncode == -signal.SIGKILL
    assert len(names_in(tmp_path)) == 2  # the folder and who writes it, however often
    with partial_folder(tmp_path / "out") as partial:
        assert names_in(partial) == []
    assert names_in(tmp_path) == []


def test_a_lock_that_its_holder_has_just_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given one that ends between the opening of the lock and the taking of it by another."""
    first = partial_folder(tmp_path / "out")
    first.__enter__()
    locked = fcntl.flock
    taken = []

    def ends_first(file: IO[str], how: int) -> None:
        if not taken:
            first.__exit__(None, None, None)
        taken.append(file)
        locked(file, how)

    monkeypatch.setattr(fcntl, "flock", ends_first)
    with (
        partial_folder(tmp_path / "out"),
        pytest.raises(BlockingIOError),
        partial_folder(tmp_path / "out"),
    ):
        pass
    assert len(taken) == 3
