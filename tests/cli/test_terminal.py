"""What the terminal shows while work goes on, with and without a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console
from rich.table import Table

from cli import terminal
from cli.demo import command
from cli.demo.command import Shown
from cli.demo.stages import Stages
from cli.terminal import Failure
from core.problem import Problem


def console(*, is_terminal: bool) -> tuple[Console, io.StringIO]:
    """A console and what it shows."""
    shown = io.StringIO()
    return Console(file=shown, force_terminal=is_terminal, width=100), shown


class TestProgress:
    """`terminal.progress`."""

    def test_without_a_terminal_it_is_a_line_now_and_then(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain, shown = console(is_terminal=False)
        monkeypatch.setattr(terminal, "messages", plain)
        seconds = iter([0.0, 1.0, 6.0, 7.0, 8.0, 8.1])
        monkeypatch.setattr(terminal.time, "monotonic", lambda: next(seconds))
        with terminal.progress("Indexing", "pictures") as advance:
            for done in (100, 1200, 1300, 2000, 2000):
                advance(done, 2000)
        assert shown.getvalue().splitlines() == [
            "Indexing: 1,200 of 2,000 pictures",
            "Indexing: 2,000 of 2,000 pictures",
        ]

    def test_on_a_terminal_it_is_a_bar(self, monkeypatch: pytest.MonkeyPatch) -> None:
        live, shown = console(is_terminal=True)
        monkeypatch.setattr(terminal, "messages", live)
        with terminal.progress("Indexing", "pictures") as advance:
            advance(7, 9)
        assert "7/9" in shown.getvalue()
        assert "━" in shown.getvalue()


NAMES = ("[bold]" + "x" * 300 + "/日本.png", "Re:Zero: Rem/1.png", "D.Gray:man:/[/]  .png", "a\tb")
"""What would be marked up, wrapped, or taken for an emoji or a tabulator."""


@pytest.mark.parametrize("name", NAMES)
def test_json_is_the_json_byte_for_byte(capsys: pytest.CaptureFixture[str], name: str) -> None:
    value = {"path": name, name: [1, None]}
    terminal.show_json(value)
    shown = capsys.readouterr().out
    assert json.loads(shown) == value
    assert shown == json.dumps(value, ensure_ascii=False, indent=1) + "\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_names_are_shown_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    name = "Re:Zero: Rem/[/]:man:[bold].png"
    for console in (terminal.results, terminal.messages):
        table = Table(name)
        table.add_row(name)
        console.print(name)
        console.print(table)
    with terminal.waiting(f"Loading {name}"):
        pass
    with terminal.progress(name, "pictures") as advance:
        advance(1, 1)
    shown = capsys.readouterr()
    assert shown.out.count(name) == 3
    assert shown.err.count(name) >= 4


class TestStages:
    """The demo's list of who is at work."""

    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_names_the_process_and_what_it_did(self, is_terminal: bool) -> None:
        screen, shown = console(is_terminal=is_terminal)
        stages = Stages(screen)
        with stages.shown(), stages.stage("worker", "searching") as stage:
            stage.what = "found it"
        last = next(line for line in shown.getvalue().splitlines()[::-1] if "found it" in line)
        assert "worker" in last
        assert "0.0 s" in last

    def test_counts(self) -> None:
        screen, shown = console(is_terminal=False)
        with Stages(screen).stage("this terminal", "drawing pictures") as stage:
            stage.count(3, 1200)
            stage.count(4, 1200)
        assert "drawing pictures: 4 of 1,200" in shown.getvalue()

    def test_one_that_failed_says_so_and_is_gone_from_the_next_list(self) -> None:
        screen, shown = console(is_terminal=True)
        stages = Stages(screen)

        def fail() -> None:
            with stages.shown(), stages.stage("worker", "searching"):
                raise Failure("Nothing.")

        with pytest.raises(Failure):
            fail()
        assert "✗" in shown.getvalue()
        shown.truncate(0)
        with stages.shown(), stages.stage("worker", "drawing"):
            pass
        assert "searching" not in shown.getvalue()
        assert "✓" in shown.getvalue()


class Worker:
    """A worker process that is alive, or has ended."""

    def __init__(self) -> None:
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code


class Processes:
    """Stands in for the demo's processes: answers by what the picture is called."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.asked: list[Path] = []

    def ask(self, picture: Path) -> Shown:
        self.asked.append(picture)
        if picture.name == "text.png":
            raise Problem("picture_damaged")
        if picture.name == "alone.png":
            raise Failure("The worker said no.")
        if picture.name == "last.png":
            self.worker.code = 1
            raise Failure("The worker ended with code 1.")
        return Shown(f"1. {picture.stem}", Path("/somewhere/collage.jpg"))


class TestPrompt:
    """The demo without `--once`."""

    @pytest.fixture
    def typed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Lines that the user types, one after the other; then the end of the input."""
        lines: list[str] = []

        def answers() -> Iterator[str]:
            yield from lines

        given = answers()

        def read(prompt: str) -> str:
            try:
                return next(given)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr(command.messages, "input", read)
        return lines

    @staticmethod
    def keep_asking(processes: Processes) -> None:
        command._keep_asking(cast("Any", processes), Stages(Console(file=io.StringIO())))

    def test_answers_each_path_until_the_end(
        self, typed: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        typed += ["", " 'my picture.png' ", "~/other.png"]
        processes = Processes()
        self.keep_asking(processes)
        assert processes.asked == [Path("my picture.png"), Path.home() / "other.png"]
        lines = capsys.readouterr().out.splitlines()
        assert lines == [
            "1. my picture", "/somewhere/collage.jpg", "1. other", "/somewhere/collage.jpg"
        ]  # fmt: skip

    @pytest.mark.parametrize("word", ["quit", "exit"])
    def test_ends_when_told_to(self, typed: list[str], word: str) -> None:
        typed += [word, "never.png"]
        processes = Processes()
        self.keep_asking(processes)
        assert processes.asked == []

    def test_goes_on_after_a_picture_that_cannot_be_used(
        self, typed: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        typed += ["text.png", "alone.png", "good.png"]
        self.keep_asking(Processes())
        shown = capsys.readouterr()
        assert "damaged" in shown.err
        assert "The worker said no." in shown.err
        assert shown.out.startswith("1. good")

    def test_ends_with_the_worker(self, typed: list[str]) -> None:
        typed += ["last.png", "never.png"]
        processes = Processes()
        with pytest.raises(Failure, match="code 1"):
            self.keep_asking(processes)
        assert len(processes.asked) == 1


class TestFolder:
    """Where the demo puts its files."""

    def test_in_a_checkout_it_is_what_git_ignores(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "cli" / "demo").mkdir(parents=True)
        (tmp_path / "pyproject.toml").touch()
        monkeypatch.chdir(tmp_path)
        assert command._default_folder() == tmp_path / "build" / "demo"

    def test_elsewhere_it_is_a_folder_of_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert command._default_folder() == tmp_path / "familiar-demo"

    def test_where_nothing_can_be_written_it_is_a_temporary_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(command.os, "access", lambda *_: False)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        folder = command._default_folder()
        assert folder.is_dir()
        assert folder.name.startswith("familiar-demo-")
