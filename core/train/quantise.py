"""Networks in whole numbers of eight bits, as `core.models.quantised` runs them."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.face import Pixels
from core.models.tensorflow_runtime import Module, tf, without_greetings
from core.train.detector_data import Sample

_EXAMPLES = 64
_Any = TypeVar("_Any")


def quantised(
    look: Callable[[Any], dict[str, Any]],
    examples: Sequence[NDArray[Any]],
    side: int | None = None,
) -> bytes:
    """A network as the content of a ``.tflite`` file.

    Weights get a scale for each channel; what flows between the layers one for each layer, from
    the least and the largest that occurs where the network looks at `examples`. What enters and
    leaves stays in single precision.

    Args:
        look: Pictures ``(n, height, width, 3)`` float32, 0..255, to maps by their names; made of
            constants and convolutions alone, since the runtime knows few other operations.
        examples: Pictures ``(height, width, 3)``, at least one, such as it will see.
        side: Height and width of the pictures if they are always the same.

    Raises:
        ValueError: There is no example.
    """
    if not examples:
        raise ValueError("A network is brought to int8 by examples; there are none.")
    entering = tf.TensorSpec([None, side, side, 3], tf.float32, name="pictures")

    def shown() -> Iterator[dict[str, NDArray[np.float32]]]:
        for each in examples:
            yield {"pictures": np.asarray(each[None], np.float32)}

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "network")
        tf.saved_model.save(
            Module(), path, signatures=tf.function(look, input_signature=[entering])
        )
        converter = tf.lite.TFLiteConverter.from_saved_model(path)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = shown
        with warnings.catch_warnings(), without_greetings():
            warnings.simplefilter("ignore", UserWarning)  # that TensorFlow means to leave it out
            return bytes(converter.convert())


def examples_of(samples: Sequence[Sample]) -> list[Pixels]:
    """Pictures for `quantised`: some from all over."""
    return [sample.pixels for sample in all_over(samples, _EXAMPLES)]


def all_over(there: Sequence[_Any], most: int) -> list[_Any]:
    """At most so many of a sequence, evenly from its beginning to its end."""
    return list(there[:: max(1, len(there) // most)][:most])
