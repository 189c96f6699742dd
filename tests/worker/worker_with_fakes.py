"""A real worker process whose models are the small fakes: it starts in a second, and can be slow.

`FAKE_DETECT_SECONDS`: how long the detector takes for each picture.
`FAKE_DETECT_DIES_AT`: the width in pixels of pictures that it kills the process of.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence

import worker.main
from core.face import Face, Pixels
from core.models import DEFAULT_EXTRACTOR, Detector, Extractor, ModelError
from core.problem import Problem
from core.settings import ModelSettings, load_settings
from tests.core.fakes import FakeDetector, FakeExtractor


class SlowDetector(FakeDetector):
    """Takes its time."""

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """As `FakeDetector.detect`, later."""
        if int(os.environ.get("FAKE_DETECT_DIES_AT", "0")) in {image.shape[1] for image in images}:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.seen:  # the first picture warms the models up before the worker is at work
            time.sleep(float(os.environ.get("FAKE_DETECT_SECONDS", "0")) * len(images))
        return super().detect(images)


def load_fakes(settings: ModelSettings, *, look: bool) -> tuple[Detector, Extractor]:
    """In place of `core.models.chosen.load_models`."""
    if settings.extractor != DEFAULT_EXTRACTOR:
        raise ModelError(f"There is no extractor named {settings.extractor!r}.")
    return SlowDetector(), FakeExtractor()


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    worker.main.load_models = load_fakes
    try:
        worker.main.run(load_settings())
    except Problem as problem:
        sys.exit(f"Error: {problem}")
