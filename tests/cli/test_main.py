"""The command as a whole: help, exit codes, and what it says when something fails."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cli import gallery_index
from core import settings
from core.faceless import FacelessError
from core.models import ModelError
from core.problem import Refusal
from core.train.dataset import DatasetError
from core.train.face_data import TrainingDataError
from core.train.session import TrainingError
from core.voc import AnnotationError
from tests.cli.commands import ended

TOKEN = "123456:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"

pytestmark = pytest.mark.usefixtures("own_folder")


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--version") == 0
    assert re.fullmatch(r"familiar \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    "command",
    [(), ("similar",), ("index", "build"), ("demo",), ("up",), ("train", "detector")],
    ids=" ".join,
)
def test_help_loads_no_model(command: tuple[str, ...]) -> None:
    heavy = ("torch", "tensorflow", "keras", "annoy", "cv2", "celery", "discord", "telegram")
    code = (
        "import sys\n"
        "from cli.main import main\n"
        "try:\n"
        f"    main([*{command!r}, '--help'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"loaded = [name for name in {heavy!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: familiar" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("similar",),
        ("similar", "a.png", "--look", "sideways"),
        ("similar", "a.png", "--count", "10"),
        ("bot", "irc"),
        ("embed", "folder"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Error" in shown.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("index", "status"), "Nothing is indexed yet."),
        (("index", "build", "nowhere"), "The gallery folder nowhere does not exist"),
        (("similar", "nowhere.png"), "The file nowhere.png cannot be read."),
        (("worker",), "REDIS_URL"),
        (("bot", "discord"), "FAMILIAR_DISCORD_TOKEN"),
        (("bot", "telegram"), "FAMILIAR_TELEGRAM_TOKEN"),
        (("train", "detector", "nowhere"), "The folder nowhere does not exist or cannot be read."),
        (("train", "extractor", "nowhere"), "The folder nowhere does not exist or cannot be read."),
        (("evaluate", "nowhere", "--crops"), "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_one_sentence_and_1(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    last = shown.err.strip().splitlines()[-1]
    assert sentence in last
    assert last.endswith(".")
    assert "Traceback" not in shown.err


def test_a_gallery_that_was_given_is_not_a_matter_of_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended("index", "build", "nowhere") == 1
    assert "FAMILIAR_GALLERY" not in capsys.readouterr().err
    assert ended("index", "build") == 1
    assert "Set FAMILIAR_GALLERY" in capsys.readouterr().err


def test_a_setting_that_cannot_be_used_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAMILIAR_LIMIT_MEGAPIXELS", "many")
    assert ended("index", "status") == 1
    assert "FAMILIAR_LIMIT_MEGAPIXELS" in capsys.readouterr().err


def test_a_dotenv_that_is_not_utf8_is_one_sentence(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_folder / ".env").write_bytes(b"# schl\xfcssel\nA=1\n")
    assert ended("models", "list") == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "the file is not UTF-8; save it as UTF-8" in told[0]


def test_a_misspelled_setting_is_said_and_a_line_that_is_none_ends_the_command(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_folder / ".env").write_text("FAMILIAR_GALERY=x\n", encoding="utf-8")
    assert ended("models", "list") == 0
    told = capsys.readouterr().err
    assert told == "FAMILIAR_GALERY is no setting; FAMILIAR_GALLERY is one.\n"
    (own_folder / ".env").write_text("A=1\nFAMILIAR_GALLERY: x\n", encoding="utf-8")
    assert ended("bot", "discord") == 1
    told = capsys.readouterr().err
    assert told.startswith("The setting .env cannot be used: line 2 is not of the form NAME=value.")
    assert len(told.splitlines()) == 1


def test_settings_that_cannot_be_opened_are_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked into again for what is not to be shown of the sentence."""

    def fail() -> None:
        raise PermissionError(13, "Permission denied", ".env")

    for module in (settings, gallery_index):
        monkeypatch.setattr(module, "load_settings", fail)
    assert ended("index", "status") == 1
    assert capsys.readouterr().err == ".env: Permission denied.\n"


def test_a_file_that_cannot_be_opened_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        Path("missing/list").read_text(encoding="utf-8")

    monkeypatch.setattr(gallery_index, "load_settings", fail)
    assert ended("index", "status") == 1
    assert capsys.readouterr().err == "missing/list: No such file or directory.\n"


class Unheard(Refusal):
    """One that no command knows."""


@pytest.mark.parametrize(
    "refusal",
    [
        Unheard,
        AnnotationError,
        DatasetError,
        FacelessError,
        ModelError,
        TrainingDataError,
        TrainingError,
    ],
)
def test_what_is_refused_is_one_sentence_and_1_whether_or_not_a_command_knows_of_it(
    refusal: type[Exception], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise refusal("It is too small; give a larger one.")

    monkeypatch.setattr(gallery_index, "load_settings", refuse)
    assert ended("index", "status") == 1
    assert capsys.readouterr().err == "It is too small; give a larger one.\n"


class TestUnexpected:
    """An error that nobody foresaw, with a token in its words."""

    @pytest.fixture(autouse=True)
    def broken(self, monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
        monkeypatch.setenv("FAMILIAR_TELEGRAM_TOKEN", TOKEN)
        monkeypatch.setattr("tempfile.tempdir", str(own_folder))

        def fail() -> None:
            raise ZeroDivisionError(f"by {TOKEN}")

        monkeypatch.setattr(gallery_index, "load_settings", fail)

    def test_says_where_the_details_are(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert ended("index", "status") == 1
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        assert "ZeroDivisionError" in said
        place = re.search(r"details are in (\S+);", said)
        assert place
        details = Path(place[1]).read_text(encoding="utf-8")
        assert "Traceback" in details
        assert TOKEN not in said + details

    def test_shows_them_with_debug(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert ended("--debug", "index", "status") == 1
        said = capsys.readouterr().err
        assert "Traceback" in said
        assert "ZeroDivisionError" in said
        assert TOKEN not in said


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    script = (
        "import time\n"
        "from cli import gallery_index, main\n"
        "def wait():\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "gallery_index.load_settings = wait\n"
        "main.main(['index', 'status'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said


def test_ctrl_c_of_which_a_library_makes_an_error_ends_with_130_and_no_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorFlow and onnxruntime do, while a model or they themselves are loaded."""

    def load() -> settings.Settings:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("initialization failed")

    monkeypatch.setattr(gallery_index, "load_settings", load)
    assert ended("index", "status") == 130
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_code_executed_from_text_ends_with_130(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "from cli.main import app, main\n"
        "@app.command('interrupted')\n"
        "def interrupted() -> None:\n"
        "    exec('raise KeyboardInterrupt')\n"
        "main(['interrupted'])\n",
        encoding="utf-8",
    )
    ended = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, capture_output=True, check=False
    )
    assert ended.returncode == 130
