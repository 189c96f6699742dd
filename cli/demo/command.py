"""`familiar demo`: the whole path on one machine, with nothing configured.

The same processes as for a community: Redis, a worker, and in place of a chat bot this terminal,
which takes pictures in exactly as a bot does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli import supervisor
from cli.demo.stages import Stage, Stages
from cli.processes import familiar_command
from cli.redis_server import EmbeddedRedis
from cli.supervisor import Member
from cli.terminal import Failure, messages, results
from core.problem import Problem
from core.progress import Progress
from core.settings import (
    DiscordSettings,
    GallerySettings,
    LimitSettings,
    LogSettings,
    ModelSettings,
    QueueSettings,
    Settings,
    TelegramSettings,
)

if TYPE_CHECKING:
    from bot.intake import Intake
    from cli.demo.gallery import Drawn

WORKER_READY_SECONDS: Final = 180.0
ANSWER_SECONDS: Final = 120.0
TERMINATED: Final = 128 + signal.SIGTERM
HERE: Final = "this terminal"


@dataclass(frozen=True, slots=True)
class Shown:
    """What came back.

    Attributes:
        caption: The numbered matches.
        collage: The picture of them.
    """

    caption: str
    collage: Path


class _Ending:
    """Ends the demo on Ctrl+C and SIGTERM, also where the exception that a signal raises is
    swallowed: by the imports of compiled modules, and by finalisers."""

    def __init__(self) -> None:
        self._asked: int | None = None

    def listen(self) -> None:
        """From now on."""
        self._asked = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        sys.unraisablehook = self._swallowed

    def check(self) -> None:
        """Raise again what was swallowed."""
        if self._asked is not None:
            self._end(self._asked)

    def counting(self, stage: Stage) -> Progress:
        """A stage's count, that ends where it was asked to."""

        def count(done: int, total: int) -> None:
            self.check()
            stage.count(done, total)

        return count

    def _swallowed(self, what: sys.UnraisableHookArgs) -> None:
        # Its traceback would say nothing: `check` raises it again.
        if self._asked is None or not issubclass(what.exc_type, KeyboardInterrupt | SystemExit):
            sys.__unraisablehook__(what)

    def _end(self, number: int, _frame: object = None) -> None:
        self._asked = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(TERMINATED)


_ending = _Ending()


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after one picture instead of asking for more.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where the gallery, the index and the collages go.", show_default=False),
    ] = None,
) -> None:
    """Try everything: draws a gallery, indexes it and asks it through a real queue and worker."""
    place = (folder if folder is not None else _default_folder()).absolute()
    _ending.listen()
    stages = Stages(messages)
    with _Processes.started(place, stages) as processes:
        with stages.shown():
            drawn = processes.prepare()
            shown = processes.ask(drawn.asked)
        if not once:
            _show(shown)
            _keep_asking(processes, stages)
    if once:
        # After the processes have ended, so that the path is the last line on the terminal.
        _show(shown)


def _default_folder() -> Path:
    """``build/demo`` in a checkout, where git ignores it; else a new folder in this one."""
    here = Path.cwd()
    if (here / "cli" / "demo").is_dir() and (here / "pyproject.toml").is_file():
        return here / "build" / "demo"
    if os.access(here, os.W_OK):
        return here / "familiar-demo"
    return Path(tempfile.mkdtemp(prefix="familiar-demo-"))


def _show(shown: Shown) -> None:
    results.print(shown.caption)
    results.print(str(shown.collage))


def _keep_asking(processes: _Processes, stages: Stages) -> None:
    messages.print("\nType the path of another picture; `quit` or Ctrl+D ends.")
    while True:
        _ending.check()
        try:
            typed = messages.input("> ").strip().strip("'\"")
        except EOFError:
            return
        if typed in {"quit", "exit"}:
            return
        if not typed:
            continue
        try:
            with stages.shown():
                shown = processes.ask(Path(typed).expanduser())
        except (Problem, Failure) as error:
            if processes.worker.poll() is not None:
                raise
            messages.print(str(error))
        else:
            _show(shown)


def settings_of_demo(redis_url: str, gallery: Path, data: Path) -> Settings:
    """Settings that neither the environment nor a `.env` has any part in."""
    return Settings(
        queue=QueueSettings.model_construct(redis_url=redis_url),
        gallery=GallerySettings.model_construct(gallery=gallery, data=data),
        model=ModelSettings.model_construct(),
        limit=LimitSettings.model_construct(),
        discord=DiscordSettings.model_construct(),
        telegram=TelegramSettings.model_construct(),
        log=LogSettings.model_construct(),
    )


def environment_of_demo(settings: Settings) -> Mapping[str, str]:
    """The same settings for the worker process, and nothing else of ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "REDIS_URL" and not name.startswith("FAMILIAR_")
    }
    return {
        **kept,
        "REDIS_URL": str(settings.queue.redis_url),
        "FAMILIAR_GALLERY": str(settings.gallery.gallery),
        "FAMILIAR_DATA": str(settings.gallery.data),
        "PYTHONUNBUFFERED": "1",
    }


def _start(member: Member, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return supervisor.start(member, output)


@dataclass(frozen=True, slots=True)
class _Processes:
    """Redis and a worker at work, and the intake that a bot would have."""

    folder: Path
    settings: Settings
    intake: Intake
    worker: subprocess.Popen[bytes]
    stages: Stages

    @classmethod
    @contextmanager
    def started(cls, folder: Path, stages: Stages) -> Iterator[_Processes]:
        """Both processes, for as long as the context lasts."""
        from bot.intake import Intake

        folder.mkdir(parents=True, exist_ok=True)
        redis = EmbeddedRedis.prepare(None)
        settings = settings_of_demo(redis.url, folder / "gallery", folder / "data")
        environment = environment_of_demo(settings)
        # The folder holds no `.env`, and the worker looks for one where it runs.
        worker = Member("worker", familiar_command("worker"), environment, cwd=str(folder))
        running: list[subprocess.Popen[bytes]] = []
        try:
            with stages.shown():
                with stages.stage("redis", "starts") as stage:
                    log = folder / "redis.log"
                    running.append(_start(Member("redis", redis.command, environment), log))
                    redis.wait_until_ready(running[0])
                    stage.what = f"keeps the queue (process {running[0].pid})"
                with stages.stage("worker", "starts") as stage:
                    running.append(_start(worker, folder / "worker.log"))
                    stage.what = (
                        f"starts, and loads its models meanwhile (process {running[1].pid})"
                    )
            yield cls(folder, settings, Intake.connect(settings), running[1], stages)
        finally:
            for process in reversed(running):
                supervisor.stop(process, worker.grace_seconds)
            redis.clear()

    def prepare(self) -> Drawn:
        """Draw and index the gallery, while the worker loads its models."""
        from cli.demo.characters import CHARACTERS
        from cli.demo.gallery import draw_gallery

        with self.stages.stage(HERE, "drawing pictures") as stage:
            drawn = draw_gallery(self.folder, _ending.counting(stage))
            stage.what = f"drew {drawn.pictures} pictures of {len(CHARACTERS)} characters"
        with self.stages.stage(HERE, "loading the models to index them") as stage:
            from core.gallery import build_index
            from core.models.chosen import load_models

            models = load_models(self.settings.model)
            stage.what = "indexing pictures"
            report = build_index(
                drawn.gallery, self.settings.gallery.data, *models, _ending.counting(stage)
            )
            stage.what = f"indexed {report.pictures} pictures and {report.faces} faces"
        _ending.check()
        with self.stages.stage("worker", "loading the models") as stage:
            self._wait_for_worker()
            stage.what = "is ready for work"
        return drawn

    def ask(self, picture: Path) -> Shown:
        """Send a picture through the queue, as a bot does, and wait for the worker's answer.

        Raises:
            Problem: It is no picture that can be used, or the queue does not take it.
            Failure: The worker ended, did not answer in time, or answered with a sentence.
        """
        from core.job import FileDestination
        from core.look import DEFAULT_COUNT, Look
        from core.picture import read_bytes

        event = f"demo-{time.time_ns()}"
        with self.stages.stage(HERE, f"reading {picture.name}") as stage:
            data = read_bytes(picture, self.settings.limit.picture)
            request = self.intake.similar(
                event=event,
                data=data,
                look=Look.BOTH,
                count=DEFAULT_COUNT,
                destination=FileDestination(),
                language="en",
            )
            asyncio.run(request)
            stage.what = f"put {picture.name} into the queue, as a bot does"
        with self.stages.stage("worker", "finds faces, searches and draws") as stage:
            shown = self._wait_for_answer(event)
            stage.what = "found faces, searched, drew and delivered the collage"
        return shown

    def _wait_for_worker(self) -> None:
        until = time.monotonic() + WORKER_READY_SECONDS
        while not asyncio.run(self.intake.worker_alive()):
            _ending.check()
            self._check_worker()
            if time.monotonic() > until:
                raise Failure(
                    f"The worker was not ready within {WORKER_READY_SECONDS:.0f} seconds;"
                    f" its log is {self.folder / 'worker.log'}."
                )
            time.sleep(0.1)

    def _wait_for_answer(self, event: str) -> Shown:
        from worker.delivery.file import FileState, answers_folder, read_answer

        data = self.settings.gallery.data
        until = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < until:
            answer = read_answer(data, event)
            if answer is not None and answer.state is FileState.ANSWERED:
                return Shown(answer.caption or "", answers_folder(data) / (answer.collage or ""))
            if answer is not None and answer.state is FileState.SAID:
                raise Failure(answer.sentence or "The worker answered nothing.")
            _ending.check()
            self._check_worker()
            time.sleep(0.05)
        raise Failure(
            f"The worker did not answer within {ANSWER_SECONDS:.0f} seconds;"
            f" its log is {self.folder / 'worker.log'}."
        )

    def _check_worker(self) -> None:
        code = self.worker.poll()
        if code is not None:
            log = self.folder / "worker.log"
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise Failure(f"The worker ended with code {code}; {log} ends with: {' '.join(last)}")
