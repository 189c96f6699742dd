"""`familiar demo` and `familiar up` as their users run them, and the bots' signs of life."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from bot.heartbeat import is_beating, keep_beating
from cli.demo.command import environment_of_demo, settings_of_demo
from cli.processes import familiar_command
from tests.platforms.discord_wire import discord_server
from tests.platforms.processes import RealProcess, real_redis, wait_for
from tests.platforms.telegram_server import TelegramServer

TOKEN = "123456:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"


def familiar(folder: Path, *arguments: str, **settings: str) -> RealProcess:
    """The command as a process of its own, working in `folder`."""
    return RealProcess(familiar_command(*arguments), settings, folder, "familiar")


def children_of(process: RealProcess) -> list[psutil.Process]:
    """Every process that it started, directly or not."""
    return psutil.Process(process.pid).children(recursive=True)


def test_demo_ends_with_the_path_of_the_collage(tmp_path: Path) -> None:
    # Settings that would keep it from working, were they its own.
    (tmp_path / ".env").write_text(
        "REDIS_URL=redis://localhost:1/0\nFAMILIAR_GALLERY=/nowhere\n"
        "FAMILIAR_MODEL_DETECTOR=none\nFAMILIAR_LIMIT_MEGAPIXELS=many\n",
        encoding="utf-8",
    )
    process = familiar(
        tmp_path, "demo", "--once", REDIS_URL="redis://localhost:2/0", FAMILIAR_DATA="/nowhere"
    )
    wait_for(lambda: process.popen.poll() is not None, "the demo ends", timeout=480)
    shown = process.output()
    assert process.popen.returncode == 0, shown
    *_, last = shown.strip().splitlines()
    collage = Path(last)
    assert collage.is_relative_to(tmp_path)
    with Image.open(collage) as image:
        assert image.width > image.height
    matches = [line for line in shown.splitlines() if line[:2] in {"1.", "2.", "3.", "4."}]
    assert [line.split()[0] for line in matches[:4]] == ["1.", "2.", "3.", "4."]
    assert matches[0].split()[1] == "Akari"
    assert matches[0].endswith("%")
    for at_work in ("[redis]", "[worker]", "[this terminal]"):
        assert at_work in shown
    assert not [
        other
        for other in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(other.info["cmdline"] or [])
    ]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = familiar(tmp_path, "demo")
    process.wait_for_output("[worker] starts", 60)
    children = children_of(process)
    assert len(children) == 2
    os.kill(process.pid, number)
    assert process.popen.wait(60) == code, process.output()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert "Traceback" not in process.output()


def test_demo_takes_no_setting_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("FAMILIAR_LIMIT_MEGAPIXELS=3\n", encoding="utf-8")
    monkeypatch.setenv("FAMILIAR_DISCORD_TOKEN", TOKEN)
    monkeypatch.setenv("FAMILIAR_MODEL_DEVICE", "nowhere")
    settings = settings_of_demo("unix:///tmp/redis", tmp_path / "gallery", tmp_path / "data")
    assert settings.limit.megapixels == 50
    assert settings.discord.token is None
    assert settings.model.device == "auto"
    given = environment_of_demo(settings)
    ours = {name for name in given if name.startswith("FAMILIAR_") or name == "REDIS_URL"}
    assert ours == {"REDIS_URL", "FAMILIAR_GALLERY", "FAMILIAR_DATA"}


def _check(folder: Path, *what: str) -> int:
    """The exit code of a look whether it is alive, in the folder of `familiar up`."""
    process = familiar(folder, *what, "--check", FAMILIAR_DATA=str(folder / "data"))
    wait_for(lambda: process.popen.poll() is not None, "the check ends", 60)
    assert "Traceback" not in process.output()
    return int(process.popen.returncode)


def test_up_runs_redis_and_a_worker_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = familiar(tmp_path, "up", FAMILIAR_DATA=str(tmp_path / "data"))
    try:
        process.wait_for_output("FAMILIAR_DISCORD_TOKEN", 30)
        process.wait_for_output("at work", 120)
        children = children_of(process)
        assert any("redis-server" in " ".join(child.cmdline()) for child in children)
        assert any(child.cmdline()[-1] == "worker" for child in children)
        second = familiar(tmp_path, "up", FAMILIAR_DATA=str(tmp_path / "data"))
        wait_for(lambda: second.popen.poll() is not None, "the second `up` ends")
        assert second.popen.returncode == 1
        assert "Another `familiar up`" in second.output()
        assert _check(tmp_path, "worker") == 0
        assert _check(tmp_path, "bot", "discord") == 1
    finally:
        code = process.stop(60)
    assert code == 0, process.output()
    assert _check(tmp_path, "worker") == 1
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert process.output().rstrip().endswith("stopped")


def test_up_starts_each_bot_that_has_a_token_on_the_redis_that_is_named(tmp_path: Path) -> None:
    with (
        real_redis() as redis,
        redis.client() as client,
        TelegramServer() as telegram,
        discord_server() as discord,
    ):
        settings = {
            "REDIS_URL": redis.url,
            "FAMILIAR_TELEGRAM_TOKEN": telegram.token,
            "FAMILIAR_TELEGRAM_API_URL": telegram.url,
            **discord.settings(),
        }
        process = familiar(tmp_path, "up", **settings)
        try:
            for platform in ("telegram", "discord"):
                key = f"familiar:bot:{platform}"
                wait_for(lambda key=key: client.exists(key), f"the {platform} bot lives", 60)
            commands = [child.cmdline() for child in children_of(process)]
            assert sorted(command[-1] for command in commands if "-m" in command) == [
                "discord",
                "telegram",
                "worker",
            ]
            assert not any("redis-server" in " ".join(command) for command in commands)
        finally:
            process.stop(60)
        for secret in (telegram.token, settings["FAMILIAR_DISCORD_TOKEN"]):
            assert secret not in process.output()


def test_up_with_one_token_starts_one_bot(tmp_path: Path) -> None:
    with real_redis() as redis, TelegramServer() as telegram:
        process = familiar(
            tmp_path,
            "up",
            REDIS_URL=redis.url,
            FAMILIAR_TELEGRAM_TOKEN=telegram.token,
            FAMILIAR_TELEGRAM_API_URL=telegram.url,
        )
        try:
            process.wait_for_output("telegram started", 30)
            last = [child.cmdline()[-1] for child in children_of(process)]
            assert sorted(last) == ["telegram", "worker"]
        finally:
            process.stop(60)


def test_a_bot_that_lives_is_seen_and_one_that_died_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with real_redis() as redis, redis.client() as client:
        settings = settings_of_demo(redis.url, tmp_path, tmp_path)
        assert not is_beating(settings, "discord")

        async def live_for_a_moment() -> None:
            beating = asyncio.create_task(keep_beating(settings, "discord"))
            while not await asyncio.to_thread(is_beating, settings, "discord"):
                await asyncio.sleep(0.01)
            beating.cancel()

        asyncio.run(asyncio.wait_for(live_for_a_moment(), 10))
        assert not is_beating(settings, "telegram")
        assert 0 < client.ttl("familiar:bot:discord") <= 45
        command = {"REDIS_URL": redis.url}
        alive = familiar(tmp_path, "bot", "discord", "--check", **command)
        assert alive.popen.wait(30) == 0, alive.output()
        client.delete("familiar:bot:discord")
        dead = familiar(tmp_path, "bot", "discord", "--check", **command)
        assert dead.popen.wait(30) == 1
        assert "not at work" in dead.output()


def test_a_bot_goes_on_beating_when_redis_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.heartbeat.BEAT_SECONDS", 0.05)
    with real_redis() as redis:
        settings = settings_of_demo(redis.url, tmp_path, tmp_path)

        async def outlive_redis() -> None:
            beating = asyncio.create_task(keep_beating(settings, "telegram"))
            await asyncio.to_thread(redis.stop)
            await asyncio.sleep(0.2)
            assert not beating.done()
            await asyncio.to_thread(redis.start)
            while not await asyncio.to_thread(is_beating, settings, "telegram"):
                await asyncio.sleep(0.02)
            beating.cancel()

        asyncio.run(asyncio.wait_for(outlive_redis(), 30))


def test_a_further_process_is_of_the_same_installation() -> None:
    assert familiar_command("worker")[0] == sys.executable
    # A folder named `core` or `bot` where the user stands must not be taken for ours.
    assert "-P" in familiar_command("worker")
    assert os.path.exists(sys.executable)
