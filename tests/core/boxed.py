"""Boxed pictures for tests."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np


def write(folder: Path, name: str, *boxes: tuple[str, int, int, int, int]) -> Path:
    """A plain picture of 60 x 40 pixels, and LabelImg's file beside it, which is returned."""
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for label, x0, y0, x1, y1 in boxes
    )
    path = folder / f"{name}.xml"
    path.write_text(f"<annotation><filename>elsewhere.jpg</filename>{objects}</annotation>")
    pixels = np.full((40, 60, 3), zlib.crc32(f"{folder.name} {name}".encode()) % 256, np.uint8)
    cv2.imwrite(str(folder / f"{name}.jpg"), pixels)
    return path
