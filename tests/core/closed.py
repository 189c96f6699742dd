"""Folders that only another user may enter; rights alone would not keep root out."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def close_to_this_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `folder` and all below it belonged to somebody else."""

    def refusing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **named: Any) -> Any:
            if not isinstance(path, int) and Path(path).is_relative_to(folder):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return original(path, *arguments, **named)

        return call

    monkeypatch.setattr(os, "stat", refusing(os.stat))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
