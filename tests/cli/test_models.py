"""`familiar models`: what is listed, shown, checked and written into .env."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from onnx import helper

from cli.models import KNOWN, write_env
from core.face import Face, Pixels
from core.gallery import build_index
from core.models import (
    DETECTOR_FORMS,
    EXTRACTOR_FORMS,
    SHIPPED,
    ModelError,
    load_extractor,
    role_of,
    with_whole_path,
)
from core.settings import load_settings
from tests.cli.commands import ended
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_gallery
from tests.core.models.test_onnx import write

Run = Callable[..., int]


@pytest.fixture
def run(own_folder: Path) -> Run:
    """The command in this process, in an empty folder and with no setting."""
    return ended


def test_every_form_of_a_name_is_listed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert {name for role, name, _ in KNOWN if role == "detector"} == set(DETECTOR_FORMS)
    assert {name for role, name, _ in KNOWN if role == "extractor"} == set(EXTRACTOR_FORMS)
    assert run("models", "list") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for _, name, _ in KNOWN)
    assert "In use: familiar-face and familiar-character." in shown
    assert run("models", "list", "--json") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    told = json.loads(shown.out)
    assert told["in_use"] == {"detector": "familiar-face", "extractor": "familiar-character"}


def test_a_model_in_the_place_of_another_kind_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAMILIAR_MODEL_DETECTOR", "nobody")
    monkeypatch.setenv("FAMILIAR_MODEL_EXTRACTOR", "familiar-face")
    assert run("models", "list") == 0
    assert capsys.readouterr().err.splitlines() == [
        "FAMILIAR_MODEL_DETECTOR names nobody, which is no detector.",
        "FAMILIAR_MODEL_EXTRACTOR names familiar-face, which is no extractor.",
    ]


def test_the_role_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "extractor.json").write_text("{}")
    for name in ("familiar-character", "resnet101", "ir-se50:a.pth", "a.onnx", str(tmp_path)):
        assert role_of(name) == "extractor", name
    (tmp_path / "extractor.json").rename(tmp_path / "weights.safetensors")
    assert role_of(str(tmp_path)) == "extractor"
    (tmp_path / "weights.safetensors").unlink()
    for name in ("familiar-face", "cascade:a", "lbpcascade:a", "a.xml", str(tmp_path)):
        assert role_of(name) == "detector", name
    for name in ("nobody", "ir-se50", "saved-model", "a.pth"):
        with pytest.raises(ModelError, match="There is no model named"):
            role_of(name)


def test_the_folder_of_a_training_is_no_model_and_the_sentence_says_what_is(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    detectors, extractors = tmp_path / "detector", tmp_path / "face"
    (detectors / "familiar-face").mkdir(parents=True)
    (detectors / "familiar-face" / "detector.json").write_text("{}")
    extractors.mkdir()
    (extractors / "weights.safetensors").write_bytes(b"")
    for folder in (detectors, extractors):
        assert run("models", "use", str(folder)) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert f"There is no detector in {detectors} itself: name {detectors}/familiar-face." in told
    assert f"{extractors} holds one network, as `familiar train extractor` wrote it" in told


def test_a_path_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_whole_path("familiar-face") == "familiar-face"
    assert with_whole_path("ir-se50:a.pth") == f"ir-se50:{tmp_path / 'a.pth'}"
    assert with_whole_path("faces.xml") == str(tmp_path / "faces.xml")


def test_show_says_what_a_model_is(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "show", "familiar-character", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["role"] == "extractor"
    shipped = load_extractor("familiar-character")
    assert (told["face_dimensions"], told["sha256"]) == (shipped.face_dimensions, shipped.sha256)
    assert -1 < told["same_threshold"] < 1
    assert told["false_accepts"] == shipped.configuration.false_accepts == 0.01
    assert run("models", "show", "familiar-character") == 0
    assert "false accepts: 0.01" in capsys.readouterr().out.splitlines()
    assert run("models", "show", "nobody") == 1
    assert "known: familiar-face, saved-model:FOLDER" in capsys.readouterr().err


def test_use_checks_models_and_writes_them(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(SHIPPED / "familiar-character", tmp_path / "my models")
    (tmp_path / ".env").write_text("FAMILIAR_DISCORD_TOKEN=secret\n#FAMILIAR_MODEL_EXTRACTOR=x\n")
    assert run("models", "use", "trained:my models") == 0
    told = capsys.readouterr()
    line = f'FAMILIAR_MODEL_EXTRACTOR="trained:{tmp_path / "my models"}"'
    assert told.out.strip() == line
    assert (tmp_path / ".env").read_text() == f"FAMILIAR_DISCORD_TOKEN=secret\n{line}\n"
    assert load_settings().model.extractor == f"trained:{tmp_path / 'my models'}"
    assert "restart it" in told.err


def test_use_says_when_the_index_was_made_with_another_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, data = drawn_gallery(tmp_path / "gallery", each=1), tmp_path / "data"
    monkeypatch.setenv("FAMILIAR_DATA", str(data))

    def told(revision: int) -> str:
        model = FakeExtractor(revision)
        monkeypatch.setattr("core.models.chosen.load_extractor_of", lambda _, look: model)
        assert run("models", "use", "familiar-character") == 0
        return " ".join(capsys.readouterr().err.split())

    assert "index was made" not in told(revision=1), "there is none"
    build_index(gallery, data, FakeDetector(), FakeExtractor())
    assert "index was made" not in told(revision=1)
    made_by, loaded = (f"fake-character ({FakeExtractor(n).sha256[:8]})" for n in (1, 2))
    assert f"The index was made with {made_by}, and {loaded} is loaded now." in told(revision=2)
    assert run("models", "use", "familiar-character", "--print") == 0
    assert capsys.readouterr().err.strip() == "Loading familiar-character", "nothing was written"


def test_a_model_that_loads_but_cannot_look_is_not_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(FakeDetector):
        def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
            raise ValueError("not these")

    monkeypatch.setattr("core.models.chosen.load_detector_of", lambda _, look: Failing())
    assert run("models", "use", "familiar-face") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "fake-face loads but cannot look at a picture: not these; export it anew" in said
    assert not (tmp_path / ".env").exists()


def test_a_model_that_is_named_by_hand_looks_first_in_every_command(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that knows numbers for black, which it is loaded with, and for nothing brighter."""
    nodes = [
        helper.make_node("ReduceMean", ["data", "axes"], ["mean"], keepdims=0),
        helper.make_node("Neg", ["mean"], ["dark"]),
        helper.make_node("Sqrt", ["dark"], ["vectors"]),
    ]
    write(tmp_path / "roots.onnx", ["n", 3, 32, 32], nodes)
    (tmp_path / ".env").write_text("FAMILIAR_MODEL_EXTRACTOR=onnx:roots.onnx\n")
    gallery = drawn_gallery(tmp_path / "gallery", each=2)
    one, other = gallery / "blue" / "0.png", gallery / "blue" / "1.png"
    for command in (
        ("compare", "--crops", one, other),
        ("index", "build", gallery),
        ("embed", gallery, "--out", tmp_path / "vectors.npz"),
        ("evaluate", gallery, "--crops"),
        ("compare-precisions", gallery, "--crops"),
    ):
        assert run(*command) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "onnx loads, but its vectors of faces are not of finite numbers" in said
    assert not (tmp_path / "vectors.npz").exists()


def test_a_model_that_cannot_be_used_is_not_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faces.xml").write_text("no cascade")
    assert run("models", "use", "cascade:faces.xml") == 1
    assert "is no cascade" in capsys.readouterr().err
    assert run("models", "use", "familiar-character", "familiar-character") == 1
    assert "only one extractor" in capsys.readouterr().err
    assert not (tmp_path / ".env").exists()
    assert run("models", "use", "familiar-character", "--print") == 0
    told = capsys.readouterr()
    assert told.out.strip() == "FAMILIAR_MODEL_EXTRACTOR=familiar-character"
    assert "restart it" not in told.err
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize("name", ["c${HOME}", "c\r", "c\nd"])
def test_a_name_that_env_would_not_give_back_is_refused(
    name: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(SHIPPED / "familiar-character", tmp_path / name)
    assert run("models", "use", f"trained:{name}") == 1
    assert "rename the file or its folder." in capsys.readouterr().err
    assert not (tmp_path / ".env").exists()


class TestEnvFile:
    def test_a_new_file_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        write_env(tmp_path / ".env", {"A": "1"})
        assert (tmp_path / ".env").read_text() == "A=1\n"
        assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600

    def test_nothing_but_the_variable_changes(self, tmp_path: Path) -> None:
        path = tmp_path / ".env"
        path.write_text("# About A\n#A=0\nexport A=1\nAB=2\n\nB = 3")
        path.chmod(0o640)
        write_env(path, {"A": "9", "C": "8"})
        assert path.read_text() == "# About A\n#A=0\nA=9\nAB=2\n\nB = 3\nC=8\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert os.listdir(tmp_path) == [".env"]

    def test_a_link_stays_one(self, tmp_path: Path) -> None:
        (tmp_path / "real").write_text("A=1\n")
        (tmp_path / ".env").symlink_to("real")
        write_env(tmp_path / ".env", {"A": "2"})
        assert (tmp_path / ".env").is_symlink()
        assert (tmp_path / "real").read_text() == "A=2\n"

    def test_a_link_may_lead_to_another_file_system(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace, replaced = Path.replace, []

        def within_one_folder(path: Path, target: Path) -> Path:
            replaced.append((path.parent, target.parent))
            return replace(path, target)

        monkeypatch.setattr(Path, "replace", within_one_folder)
        (tmp_path / "far").mkdir()
        (tmp_path / "far" / "real").write_text("A=1\n")
        (tmp_path / ".env").symlink_to("far/real")
        write_env(tmp_path / ".env", {"A": "2"})
        assert replaced == [(tmp_path / "far", tmp_path / "far")]
        assert (tmp_path / "far" / "real").read_text() == "A=2\n"

    def test_ends_of_lines_stay_as_they_are(self, tmp_path: Path) -> None:
        path = tmp_path / ".env"
        path.write_bytes("# \u2028 Ä\r\nA=1\r\nB=2".encode())
        write_env(path, {"A": "é", "C": "8"})
        assert path.read_bytes() == "# \u2028 Ä\r\nA=é\r\nB=2\r\nC=8\r\n".encode()

    def test_it_is_utf8_whatever_the_locale(self, tmp_path: Path) -> None:
        code = (
            "from pathlib import Path; from cli.models import write_env;"
            " write_env(Path('.env'), {'A': chr(0xe9)})"
        )
        environment = os.environ | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
        root = str(Path(__file__).parents[2])
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": root},
            check=True,
        )
        assert (tmp_path / ".env").read_bytes() == "A=é\n".encode()
