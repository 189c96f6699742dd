"""Pictures that people send to a bot."""

from __future__ import annotations

import io

from PIL import Image


def picture(colour: str = "teal", kind: str = "PNG") -> bytes:
    """A small picture file, another one for each colour."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, kind)
    return file.getvalue()
