"""Several processes as one, tried with small scripts as the members."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from bot.discord import bot as discord
from bot.telegram import bot as telegram
from bot.telegram.polling import CONFIRM_SECONDS
from cli import supervisor
from cli.processes import _members
from cli.supervisor import AWAY, ENDS_IN_A_ROW, Member, Supervisor
from cli.terminal import Failure
from core.settings import DiscordSettings, TelegramSettings, load_settings
from tests.platforms.processes import wait_for

SLEEPS = "import time; print('here', flush=True); time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('here', flush=True); time.sleep(60)"
)


def member(name: str, script: str, *, needed: bool = False, grace: float = 5) -> Member:
    """A member that runs a piece of Python."""
    command = [sys.executable, "-c", script]
    return Member(name, command, dict(os.environ), needed=needed, grace_seconds=grace)


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits only for its parent to notice."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Watched:
    """A supervisor whose lines are kept, stopped by a signal once a line has been said."""

    def __init__(self, *members: Member) -> None:
        self.lines: list[tuple[str, str]] = []
        self.supervisor = Supervisor(members, lambda name, line: self.lines.append((name, line)))

    def run(self, until: tuple[str, str], number: signal.Signals = signal.SIGINT) -> int:
        """Run, and send ourselves `number` when `until` has been said."""

        def ask() -> None:
            wait_for(lambda: until in self.lines or self.supervisor.stopping.is_set(), str(until))
            os.kill(os.getpid(), number)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            return self.supervisor.run()
        finally:
            asking.join()


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Afterwards, this process has no child that it did not have before."""
    before = set(psutil.Process().children(recursive=True))
    yield
    assert not set(psutil.Process().children(recursive=True)) - before


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start again at once, so that no test waits."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("nothing_left")
def test_a_signal_stops_all_in_the_opposite_order(number: signal.Signals) -> None:
    watched = Watched(member("first", SLEEPS), member("second", SLEEPS))
    assert watched.run(("second", "here"), number) == 0
    ends = [name for name, line in watched.lines if line == "stopped"]
    assert ends == ["second", "first"]


@pytest.mark.usefixtures("nothing_left")
def test_one_that_does_not_listen_is_ended_by_force() -> None:
    watched = Watched(member("stubborn", STUBBORN, grace=0.3))
    assert watched.run(("stubborn", "here")) == 0


def test_before_one_is_asked_to_end_it_is_seen_to() -> None:
    alive: list[bool] = []

    def ending() -> None:
        alive.append(any(not has_ended(child.pid) for child in psutil.Process().children()))
        raise Failure("Not everything could be done.")

    watched = Watched(replace(member("one", SLEEPS), ending=ending))
    assert watched.run(("one", "here")) == 0
    assert alive == [True]
    assert watched.lines[-2:] == [("one", "Not everything could be done."), ("one", "stopped")]


def test_what_a_member_started_itself_ends_too() -> None:
    script = (
        "import subprocess, sys, time;"
        "own = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print('its own:', own.pid, flush=True); print('here', flush=True); time.sleep(60)"
    )
    watched = Watched(member("parent", script))
    watched.run(("parent", "here"))
    own = next(int(line.split()[-1]) for _, line in watched.lines if line.startswith("its own"))
    wait_for(lambda: has_ended(own), "it ends", 10)


def test_one_that_crashed_is_started_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = (
        f"import pathlib, sys, time; mark = pathlib.Path({str(mark)!r})\n"
        "if not mark.exists():\n"
        "    mark.touch(); sys.exit(3)\n"
        "print('back', flush=True); time.sleep(60)"
    )
    watched = Watched(member("fragile", script))
    assert watched.run(("fragile", "back")) == 0
    assert any("ended with code 3; starting it again" in line for _, line in watched.lines)


def test_one_that_keeps_crashing_is_given_up_and_the_others_go_on() -> None:
    watched = Watched(member("broken", "raise SystemExit(1)"), member("sound", SLEEPS))
    given_up = f"ended with code 1, {ENDS_IN_A_ROW} times in a row; given up"
    assert watched.run(("broken", given_up)) == 0
    assert ("sound", "stopped") in watched.lines
    starts = [line for name, line in watched.lines if name == "broken" and "started" in line]
    assert len(starts) == ENDS_IN_A_ROW


def test_one_whose_platform_is_away_is_started_again_for_as_long_as_it_takes(
    tmp_path: Path,
) -> None:
    count = tmp_path / "count"
    script = (
        f"import pathlib, sys, time; count = pathlib.Path({str(count)!r})\n"
        "tries = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(tries))\n"
        f"if tries <= {ENDS_IN_A_ROW + 2}: sys.exit({AWAY})\n"
        "print('reached', flush=True); time.sleep(60)"
    )
    watched = Watched(member("bot", script), member("sound", SLEEPS))
    assert watched.run(("bot", "reached")) == 0
    assert not any("given up" in line for _, line in watched.lines)


def test_one_that_is_not_ready_is_started_again() -> None:
    tries: list[int] = []

    def ready(process: subprocess.Popen[bytes]) -> None:
        tries.append(process.pid)
        if len(tries) == 1:
            raise Failure("It does not answer.")
        watched.lines.append(("slow", "is ready"))

    watched = Watched(replace(member("slow", SLEEPS, needed=True), ready=ready))
    assert watched.run(("slow", "is ready")) == 0
    assert ("slow", "It does not answer.") in watched.lines
    assert len(tries) == 2
    assert has_ended(tries[0])


def test_one_that_is_never_ready_is_given_up() -> None:
    lines: list[tuple[str, str]] = []

    def ready(process: subprocess.Popen[bytes]) -> None:
        raise Failure("It does not answer.")

    members = [replace(member("slow", SLEEPS, needed=True), ready=ready)]
    assert Supervisor(members, lambda name, line: lines.append((name, line))).run() == 1
    assert [line for _, line in lines].count("It does not answer.") == ENDS_IN_A_ROW


def test_without_a_needed_one_all_stop() -> None:
    lines: list[tuple[str, str]] = []
    members = [member("needed", "raise SystemExit(1)", needed=True), member("other", SLEEPS)]
    assert Supervisor(members, lambda name, line: lines.append((name, line))).run() == 1
    assert ("other", "stopped") in lines


def test_when_none_but_needed_ones_are_left_all_stop() -> None:
    lines: list[tuple[str, str]] = []
    members = [member("needed", SLEEPS, needed=True), member("only bot", "raise SystemExit(1)")]
    assert Supervisor(members, lambda name, line: lines.append((name, line))).run() == 1
    assert ("needed", "stopped") in lines


def test_every_line_names_its_process() -> None:
    watched = Watched(member("one", "print('a\\nb', flush=True); " + SLEEPS))
    watched.run(("one", "here"))
    assert [line for name, line in watched.lines if name == "one"][:1] != []
    said = [line for _, line in watched.lines]
    assert said.index("a") < said.index("b") < said.index("here")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_members_end_when_the_supervisor_is_killed() -> None:
    script = (
        "import os, sys\n"
        "from cli.supervisor import Member, Supervisor\n"
        f"sleeps = [sys.executable, '-c', {SLEEPS!r}]\n"
        "members = [Member('child', sleeps, dict(os.environ))]\n"
        "Supervisor(members, lambda name, line: print(name, line, flush=True)).run()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    for line in parent.stdout:
        if "here" in line:
            break
    else:
        pytest.fail("the supervisor ended before its member was there")
    children = psutil.Process(parent.pid).children(recursive=True)
    assert children
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_a_bot_has_the_time_that_it_takes_to_stop() -> None:
    settings = load_settings().model_copy(
        update={
            "discord": DiscordSettings(token=SecretStr("1")),
            "telegram": TelegramSettings(token=SecretStr("1")),
        }
    )
    grace = {each.name: each.grace_seconds for each in _members(settings, None, {})}
    assert grace["discord"] > discord.STOP_SECONDS
    assert grace["telegram"] > CONFIRM_SECONDS + telegram.STOP_SECONDS
