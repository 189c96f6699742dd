"""Drawing of a training's pictures in threads, while the caller computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

_Drawn = TypeVar("_Drawn")

DRAWS: Final = "training-data"
"""What the names of the threads that draw begin with."""

_MOST_THREADS: Final = 8
_AHEAD: Final = 4


def drawn_ahead(draw: Callable[[int], _Drawn], steps: range) -> Iterator[_Drawn]:
    """What `draw` makes of each of `steps`, in their order; threads draw while the caller computes.

    There is one thread for every two cores, so that two cores, which compute as well, have one,
    and a GPU beside many does not wait.
    """
    threads = min(_MOST_THREADS, max(1, (os.cpu_count() or 1) // 2))
    remaining = iter(steps)
    with ThreadPoolExecutor(threads, DRAWS) as pool:
        ahead = deque(pool.submit(draw, step) for step in islice(remaining, _AHEAD + threads))
        try:
            while ahead:
                drawn = ahead.popleft().result()
                ahead.extend(pool.submit(draw, step) for step in islice(remaining, 1))
                yield drawn
        finally:
            for waiting in ahead:
                waiting.cancel()
