"""What the processes write while they run: one line an event, on stderr."""

from __future__ import annotations

import logging
import sys
from typing import Final

FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

# At INFO these write a line for each request or each connection.
TALKATIVE: Final = ("httpx", "httpcore", "urllib3", "PIL", "h5py", "asyncio")


def set_up(level: str) -> None:
    """Log everything from `level` on to stderr."""
    logging.basicConfig(level=level, format=FORMAT, stream=sys.stderr, force=True)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
