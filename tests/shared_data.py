"""Where real pictures for tests are, on machines that have them."""

from __future__ import annotations

import os
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
ROOT = Path(os.environ.get("FAMILIAR_TEST_DATA", _BESIDE))


def present(*names: str) -> bool:
    """Whether all these folders of real pictures are here."""
    return all((ROOT / name).is_dir() for name in names)
