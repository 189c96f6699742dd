"""Requests through a real bot, a real Redis and a real worker, one after the other."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from pydantic import BaseModel
from rich.progress import Progress

from tests.platforms.discord_wire import discord_server
from tests.platforms.processes import RealProcess, real_redis, running
from tests.platforms.telegram_server import Message, TelegramServer, User

WARM_UP: Final = 5
ASKER: Final = User(11, "Mika", "en")


class WorkerTimes(BaseModel):
    """What the worker wrote of one job: when it began (seconds since the epoch), and seconds."""

    started: float
    spent: float
    steps: dict[str, float]


@dataclass(frozen=True, slots=True)
class Requests:
    """Seconds, one entry a request, and memory in MiB.

    Attributes:
        steps: Of the worker, by name.
        whole: In the worker, from taking the job to its answer being delivered.
        to_worker: From the person's message to the worker's start with the job; the bot's receipt,
            the placeholder and the picture's download lie in between.
        to_answer: From the person's message to the answer.
        memory: Of each process.
    """

    steps: dict[str, list[float]]
    whole: list[float]
    to_worker: list[float]
    to_answer: list[float]
    memory: dict[str, float]


def percentile(values: Sequence[float], share: int) -> float:
    """The `share`-th percentile, such as the 50th."""
    return float(np.percentile(np.asarray(values), share))


def measure_requests(
    gallery: Path, data: Path, folder: Path, pictures: Sequence[bytes], progress: Progress
) -> Requests:
    """Ask about each picture through a Telegram bot, and look at the processes' memory."""
    times_file = folder / "times.jsonl"
    times_file.touch()
    memory: dict[str, float] = {}
    with real_redis() as redis, TelegramServer() as telegram:
        settings = {
            "REDIS_URL": redis.url,
            "FAMILIAR_GALLERY": str(gallery),
            "FAMILIAR_DATA": str(data),
            "FAMILIAR_TELEGRAM_TOKEN": telegram.token,
            "FAMILIAR_TELEGRAM_API_URL": telegram.url,
            "FAMILIAR_LIMIT_REQUESTS_PER_MINUTE": "100000",
        }
        command = [sys.executable, "-m", "benchmarks.worker", str(times_file)]
        worker = RealProcess(command, settings, folder, "worker")
        try:
            worker.wait_for_output("at work", timeout=180)
            with running("telegram", settings, folder) as bot:
                telegram.wait_until_polled()
                asked = _ask_all(telegram, pictures, progress)
                memory["Telegram bot"] = _mebibytes(bot)
                memory["worker"] = _mebibytes(worker)
        finally:
            worker.stop()
        memory["Discord bot"] = _discord_bot(redis.url, folder)
    lines = times_file.read_text(encoding="utf-8").splitlines()
    times = [WorkerTimes.model_validate_json(line) for line in lines]
    if len(times) != len(asked):
        raise SystemExit(f"{len(asked)} requests, but the worker answered {len(times)}.")
    kept = list(zip(asked, times, strict=True))[WARM_UP:]
    return Requests(
        steps={name: [time.steps[name] for _, time in kept] for name in kept[0][1].steps},
        whole=[time.spent for _, time in kept],
        to_worker=[time.started - sent for (sent, _), time in kept],
        to_answer=[answered - sent for (sent, answered), _ in kept],
        memory=memory,
    )


def _ask_all(
    telegram: TelegramServer, pictures: Sequence[bytes], progress: Progress
) -> list[tuple[float, float]]:
    """When each message was sent, and when its answer was there; one after the other."""
    chat = telegram.private_chat(ASKER)
    asked: list[tuple[float, float]] = []
    for picture in progress.track(pictures, description="requests"):
        sent = time.time()
        message: Message = telegram.send_photo(ASKER, chat, picture)
        telegram.wait_for_picture(message, timeout=60)
        asked.append((sent, time.time()))
    return asked


def _mebibytes(process: RealProcess) -> float:
    return psutil.Process(process.pid).memory_info().rss / 2**20


def _discord_bot(redis_url: str, folder: Path) -> float:
    with (
        discord_server() as discord,
        running("discord", {"REDIS_URL": redis_url, **discord.settings()}, folder) as bot,
    ):
        discord.wait_for_bot(bot)
        return _mebibytes(bot)
