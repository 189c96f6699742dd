"""What stays in memory between requests: the models and the opened index."""

from __future__ import annotations

import logging
import math
import threading
import time
from pathlib import Path
from typing import Final

from core.index import Index, current_version
from core.models import Detector, Extractor
from core.models.first_look import look_first
from core.problem import Problem
from core.search import Searcher
from worker.batcher import Batcher
from worker.courtesy import CourteousDetector, CourteousExtractor, Courtesy

log = logging.getLogger(__name__)

_OF_ONE_VERSION: Final = frozenset({"index_damaged", "index_other_format", "index_other_models"})
"""What is wrong with a version, while an intact one that is in memory answers as before."""
SECONDS_BETWEEN_TRIES: Final = 30.0
"""Such a version is opened again after so long: what hindered, such as a disk, may have passed."""


class Resident:
    """The models, fed in batches, and the current index, reopened when another is published.

    Attributes:
        courtesy: Knows whether somebody is being answered.
        detector: For people's requests.
        extractor: For people's requests; those that meet share a forward pass.
        building: The same two for a reindex, which steps aside for people.
    """

    def __init__(self, detector: Detector, extractor: Extractor, data: Path) -> None:
        self.courtesy = Courtesy()
        self.detector = detector
        self.extractor = Batcher(extractor)
        self.building: tuple[Detector, Extractor] = (
            CourteousDetector(detector, self.courtesy),
            CourteousExtractor(self.extractor, self.courtesy),
        )
        self._data = data
        self._opening = threading.Lock()
        self._version: str | None = None
        self._searcher: Searcher | None = None
        self._try_again_at = math.inf
        self._refused = ""

    def warm_up(self) -> None:
        """Let each model see pictures: a first one costs seconds, and no person should pay.

        Raises:
            core.models.ModelError: One of them cannot.
        """
        look_first(self.detector)
        look_first(self.extractor)

    def searcher(self) -> Searcher:
        """A searcher over the current index. One taken before keeps its own version.

        Raises:
            Problem: Nothing is indexed, other models or another version of the program made the
                index, or it is damaged. Such a version, or a damaged pointer, does not replace an
                intact one that is in memory; it is tried again later.
        """
        version = self._current_version()
        searcher = self._searcher
        if searcher is not None and self._is_settled(version):
            return searcher
        with self._opening:
            version = self._current_version()
            if self._searcher is not None and self._is_settled(version):
                return self._searcher
            # Whoever asks while it is tried again is answered by the one in memory.
            self._try_again_at = time.monotonic() + SECONDS_BETWEEN_TRIES
            try:
                index = Index.open_current(self._data, self.detector, self.extractor)
            except Problem as problem:
                if self._searcher is None or problem.key not in _OF_ONE_VERSION:
                    raise
                self._refuse(version, problem)
            else:
                self._searcher = Searcher(self.detector, self.extractor, index)
                self._try_again_at, self._refused = math.inf, ""
                log.info("opened index version %s", version)
            self._version = version
            return self._searcher

    def _is_settled(self, version: str | None) -> bool:
        """Whether a version is the one in memory, or was refused a short while ago."""
        return version == self._version and time.monotonic() < self._try_again_at

    def _refuse(self, version: str | None, problem: Problem) -> None:
        refused = f"version {version} is not used: {problem}"
        if refused != self._refused:  # said once, however often it is tried
            log.error("%s", refused)
        self._refused = refused
        self._try_again_at = time.monotonic() + SECONDS_BETWEEN_TRIES

    def _current_version(self) -> str | None:
        """The version in use; the one in memory where nobody can tell."""
        try:
            return current_version(self._data)
        except Problem as problem:
            if self._searcher is None:
                raise
            log.error("version %s stays in use: %s", self._version, problem)
            return self._version

    def close(self) -> None:
        """End the batcher's thread."""
        self.extractor.close()
