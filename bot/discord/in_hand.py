"""What the bot has begun to answer, so that it does not end while a person waits."""

from __future__ import annotations

import asyncio
from typing import Any


class InHand:
    """The tasks of requests from their first word to the queue."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def add(self) -> None:
        """Count the task that calls this, until it ends."""
        task = asyncio.current_task()
        if task is None:
            raise ValueError("only a task can be waited for")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, seconds: float) -> bool:
        """Wait for all of them, also for those that are added meanwhile.

        Args:
            seconds: At most so long; what is left then is cancelled.

        Returns:
            Whether every one came to its end.
        """
        try:
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            left = list(self._tasks)
            for task in left:
                task.cancel()
            await asyncio.wait(left)
            return False
        return True
