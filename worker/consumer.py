"""The queue's consumer: it outlasts a Redis that refuses for a while, such as one without room on
its disk, and ends where Redis refuses for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from celery.exceptions import WorkerShutdown
from celery.worker import consumer
from redis.exceptions import AuthenticationError, NoPermissionError

FOR_GOOD: Final = (AuthenticationError, NoPermissionError)
"""Refusals that last until somebody changes the settings, here or there."""


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Celery's own, which would try for ever.

    Args:
        on_refusal: Called once with what Redis refuses for good, just before the worker stops.
    """

    def __init__(self, *args: Any, on_refusal: Callable[[Exception], None], **kwargs: Any) -> None:
        self._on_refusal = on_refusal
        super().__init__(*args, **kwargs)

    def ensure_connected(self, conn: Any) -> Any:
        """Try until Redis is there."""
        ensure = conn.ensure_connection

        def until_refused(
            say: Callable[[Exception, float], None], *args: Any, **kwargs: Any
        ) -> Any:
            def judge(error: Exception, seconds: float) -> None:
                self._judge(error)
                say(error, seconds)

            return ensure(judge, *args, **kwargs)

        conn.ensure_connection = until_refused
        return super().ensure_connected(conn)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Connect anew, unless that is of no use."""
        self._judge(exc)
        super().on_connection_error_before_connected(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Connect anew, unless that is of no use."""
        self._judge(exc)
        super().on_connection_error_after_connected(exc)

    def _judge(self, error: Exception) -> None:
        if isinstance(error, FOR_GOOD):
            self._on_refusal(error)
            raise WorkerShutdown(1) from error
