"""Ctrl+C, where it must not fall into a library's own work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruption_later() -> Iterator[None]:
    """Let Ctrl+C wait until the block is over.

    Libraries that load something make other errors of it, or lose it. Only the main thread ever
    gets it, so in others nothing is done.

    Raises:
        KeyboardInterrupt: It was pressed meanwhile; also where the block failed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    pressed = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed.is_set():
            signal.raise_signal(signal.SIGINT)
