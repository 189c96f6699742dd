"""What the process of a bot never loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.platforms.processes import REPOSITORY

HEAVY = {"torch", "torchvision", "tensorflow", "keras", "annoy", "cv2", "worker.tasks"}


@pytest.mark.parametrize("bot", ["bot.discord.bot", "bot.telegram.bot"])
def test_a_bot_imports_no_model_and_no_index(bot: str) -> None:
    code = f"import sys, {bot}; print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    loaded = printed.stdout.split()
    assert bot in loaded
    assert HEAVY.isdisjoint(loaded)
