"""Several processes as one: started together, their output side by side, stopped together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from cli.terminal import Failure

STEADY_SECONDS: Final = 30.0
"""A process that has run for so long was well; its next end counts as the first."""

AWAY: Final = os.EX_TEMPFAIL
"""The exit code of a process that needs something which is away for now, such as the network."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
ENDS_IN_A_ROW: Final = 5
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Member:
    """A process to keep running.

    Attributes:
        name: Stands before each line that it writes.
        command: Program and arguments.
        environment: All of its environment variables.
        needed: Without it the others are of no use, and all are stopped.
        grace_seconds: From the request to end until it is ended by force. A bot takes up to 20
            for the requests in hand.
        inherited: File descriptors that it inherits.
        ready: Called with the process after each start; returns once it can be used, and raises a
            `Failure` where it cannot.
        ending: Called before it is asked to end, when everything stops; what a `Failure` says is
            shown, and it ends all the same.
        cwd: Its working folder; None: that of this process.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    needed: bool = False
    grace_seconds: float = 25.0
    inherited: tuple[int, ...] = ()
    ready: Callable[[subprocess.Popen[bytes]], None] | None = None
    ending: Callable[[], None] | None = None
    cwd: str | None = None


def _end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, were it by `kill -9` (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def start(member: Member, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start a member in its own process group, so that Ctrl+C reaches its parent alone."""
    return subprocess.Popen(  # noqa: S603 - our own programs with our own arguments
        list(member.command),
        env=dict(member.environment),
        cwd=member.cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=member.inherited,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread of ours holds a lock at start
    )


def stop(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Ask a process to end, and end its whole group by force if it does not in time."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            _kill_group(process)
    # What it may have started itself ends too.
    _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    process.wait()


@dataclass(slots=True)
class _Running:
    member: Member
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    ends: int = 0
    given_up: bool = False


@dataclass(slots=True)
class Supervisor:
    """Keeps members running until it is told to stop.

    A member that ends is started again after a pause that doubles each time. One that ends
    `ENDS_IN_A_ROW` times without ever having run for `STEADY_SECONDS` is given up: its own words
    say why. An end by `AWAY` is none of them: that member is started again for as long as it
    takes. Where one that was needed is given up, or none but needed ones are left of those that
    were there, everything stops.

    Attributes:
        members: In the order of their start; they are stopped in the opposite order.
        say: Takes a line to show, with the name of the process it is about.
    """

    members: Sequence[Member]
    say: Callable[[str, str], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    _running: list[_Running] = field(default_factory=list)

    def run(self) -> int:
        """Run until SIGINT, SIGTERM or SIGHUP, or until what is left is of no use.

        Call it from the main thread.

        Returns:
            0 where it was asked to stop, else 1.
        """
        received: list[int] = []

        def asked(number: int, _frame: object) -> None:
            received.append(number)
            self.stopping.set()

        before = {
            number: signal.signal(number, asked)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        self._running = [_Running(member) for member in self.members]
        try:
            while not self.stopping.is_set() and self._tend():
                self.stopping.wait(0.2)
        finally:
            for running in reversed(self._running):
                self._end(running)
            for number, handler in before.items():
                signal.signal(number, handler)
        return 0 if received else 1

    def _tend(self) -> bool:
        """Start what is due and note what has ended; False where nothing useful is left."""
        for running in self._running:
            if self.stopping.is_set():
                return True
            if running.given_up:
                continue
            if running.process is None:
                if time.monotonic() >= running.start_at:
                    self._start(running)
            elif (code := running.process.poll()) is not None:
                self._ended(running, code)
        if any(running.given_up and running.member.needed for running in self._running):
            return False
        optional = [running for running in self._running if not running.member.needed]
        return not optional or any(not running.given_up for running in optional)

    def _start(self, running: _Running) -> None:
        member = running.member
        running.process = start(member, subprocess.PIPE)
        running.started_at = time.monotonic()
        running.reader = threading.Thread(
            target=self._relay, args=(running.process.stdout, member.name), daemon=True
        )
        running.reader.start()
        if member.ready is not None:
            try:
                member.ready(running.process)
            except Failure as failure:
                # It counts among those that ended.
                self.say(member.name, str(failure))
                _kill_group(running.process)
                return
        self.say(member.name, f"started (process {running.process.pid})")

    def _ended(self, running: _Running, code: int) -> None:
        if running.process is not None:
            _kill_group(running.process)
        running.process = None
        how = f"ended with code {code}" if code >= 0 else f"was ended by signal {-code}"
        if code == AWAY:
            self._pause(running, LONGEST_PAUSE, how)
            return
        if time.monotonic() - running.started_at >= STEADY_SECONDS:
            running.ends = 0
        running.ends += 1
        if running.ends >= ENDS_IN_A_ROW:
            running.given_up = True
            self.say(running.member.name, f"{how}, {running.ends} times in a row; given up")
            return
        self._pause(running, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (running.ends - 1)), how)

    def _pause(self, running: _Running, seconds: float, how: str) -> None:
        running.start_at = time.monotonic() + seconds
        self.say(running.member.name, f"{how}; starting it again in {seconds:.0f} s")

    def _end(self, running: _Running) -> None:
        if running.process is None:
            return
        if running.member.ending is not None and running.process.poll() is None:
            try:
                running.member.ending()
            except Failure as failure:
                self.say(running.member.name, str(failure))
        stop(running.process, running.member.grace_seconds)
        if running.reader is not None:
            running.reader.join(2)
        self.say(running.member.name, "stopped")
        running.process = None

    def _relay(self, lines: IO[bytes] | None, name: str) -> None:
        if lines is None:
            return
        with lines:
            for line in lines:
                self.say(name, line.decode("utf-8", "replace").rstrip())
