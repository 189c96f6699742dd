"""A model's first look: what loading does not show comes out before anybody asks."""

from __future__ import annotations

import numpy as np

from core.face import Vectors
from core.models import Detector, Extractor, ModelError

_HEIGHT, _WIDTH = 480, 640
_BOX = (200.0, 150.0, 300.0, 250.0)
_TENSORFLOWS_FIRST_LINE = "Graph execution error"
"""After which TensorFlow says where, and only then what."""


def look_first(model: Detector | Extractor) -> None:
    """Let a model see plain pictures, two at once where it takes as many.

    Raises:
        ModelError: It fails, does not answer for each, or gives vectors that are no numbers, or its
            device fails.
    """
    role = "detector" if hasattr(model, "detect") else "extractor"
    try:
        _look(model)
    except ModelError:
        raise
    except Exception as error:  # those of the libraries share no other class
        if role == "extractor" and _is_of_a_device(error):
            raise ModelError(
                f"The extractor {model.name} cannot look at a picture on its device:"
                f" {_what(error)}; free the device's memory, or set FAMILIAR_MODEL_DEVICE=cpu."
            ) from error
        raise ModelError(
            f"The {role} {model.name} loads but cannot look at a picture: {_what(error)}; export"
            " it anew, or choose another."
        ) from error


def _look(model: Detector | Extractor) -> None:
    picture = np.full((_HEIGHT, _WIDTH, 3), 128, np.uint8)
    if hasattr(model, "detect"):
        model.detect([picture, picture])
        return
    faces = np.stack([model.prepare_face(picture, box) for box in (_BOX, None)])
    _check(model, "faces", model.embed_faces(faces), model.face_dimensions)
    pictures = np.stack([model.prepare_picture(picture)] * 2)
    _check(model, "pictures", model.embed_pictures(pictures), model.picture_dimensions)


def _is_of_a_device(error: Exception) -> bool:
    from core.models.device import is_of_a_device  # a detector looks without PyTorch

    return is_of_a_device(error)


def _check(model: Extractor, what: str, vectors: Vectors, dimensions: int) -> None:
    if vectors.shape != (2, dimensions):
        raise ModelError(
            f"The extractor {model.name} gives {vectors.shape} for two {what} instead of"
            f" {(2, dimensions)}; export it anew, or choose another."
        )
    if not np.isfinite(vectors).all():
        raise ModelError(
            f"The extractor {model.name} loads, but its vectors of {what} are not of finite"
            " numbers; fetch its file again, or choose another."
        )


def _what(error: Exception) -> str:
    """The line of an error that says most, as part of a sentence."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line[0].isspace()]
    if not lines:
        return type(error).__name__
    return lines[-1 if lines[0].startswith(_TENSORFLOWS_FIRST_LINE) else 0].rstrip(" .")
