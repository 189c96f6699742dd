"""Face networks in ONNX files, run by onnxruntime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from core.face import Pixels, Vectors
from core.models import ModelError
from core.models.aligned import AlignedExtractor, Description, described
from core.models.extractor import FamiliarExtractor
from core.models.onnx_session import open_session

NAME: Final = "onnx"
_MOST_AT_ONCE: Final = 32
_Divisor = Annotated[FiniteFloat, Field(gt=0)]


class OnnxDescription(Description):
    """What an ONNX file does not say of itself.

    Attributes:
        side: Of the faces that it takes, in pixels; to be given where the file leaves it open.
        mean: Of the pixels 0..255, taken off, a channel each in the network's order.
        deviation: What is left is divided by this, a channel each.
        output: Name of the output that is taken; to be given where there are several.
    """

    side: int | None = Field(default=None, ge=16, le=1024)
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (127.5, 127.5, 127.5)
    deviation: tuple[_Divisor, _Divisor, _Divisor] = (127.5, 127.5, 127.5)
    output: str | None = None


class OnnxFaces:
    """A session with its preprocessing. See `core.models.aligned.FaceNetwork`."""

    in_onnxruntime = True

    def __init__(self, path: Path, session: Any, description: OnnxDescription) -> None:
        """
        Args:
            path: Of the file, for sentences.
            session: ``onnxruntime.InferenceSession``.
            description: How the network wants to be fed.

        Raises:
            ModelError: The network does not take one batch of square colour pictures, its side
                or which of its outputs is meant is not known, or it does not give one vector a
                picture.
        """
        self._session = session
        self._mean = np.array(description.mean, np.float32)
        self._deviation = np.array(description.deviation, np.float32)
        entering = session.get_inputs()
        if len(entering) != 1 or entering[0].type != "tensor(float)" or len(entering[0].shape) != 4:
            raise ModelError(f"{path} does not take one batch of pictures as 32-bit floats.")
        self._input = entering[0].name
        given = [leaving.name for leaving in session.get_outputs()]
        self._output = _output(path, given, description.output)
        # Of 0 nothing could be shown: what is meant is that it is open.
        batch, *shape = (
            length if isinstance(length, int) and length > 0 else None
            for length in entering[0].shape
        )
        if shape[0] == 3:
            self._channels_first, sides = True, shape[1:]
        elif shape[2] == 3:
            self._channels_first, sides = False, shape[:2]
        else:
            raise ModelError(
                f"{path} does not take pictures of three colours, but {entering[0].shape}."
            )
        self.side = _side(path, sides, description.side)
        self._at_once = batch or _MOST_AT_ONCE
        self._fixed = batch is not None
        shown = batch or 2
        try:
            vectors = self._run(np.zeros((shown, self.side, self.side, 3), np.uint8))
        except Exception as error:  # onnxruntime's errors share no other class
            why = str(error).splitlines()[0]
            if self._fixed:
                raise ModelError(f"{path} cannot be run: {why}") from error
            raise ModelError(
                f"{path} takes any number of pictures but cannot be run on {shown}; export it with"
                f" a batch of 1 if it is for one at a time: {why}"
            ) from error
        if vectors.ndim != 2 or len(vectors) != shown or vectors.shape[1] < 2:
            raise ModelError(
                f"{path} does not give one vector a picture, but {vectors.shape} for {shown}."
            )
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{path} gives vectors that are not of finite numbers; see whether mean and"
                f" deviation in {path.with_suffix('.json').name} are those of its training."
            )
        self.dimensions = int(vectors.shape[1])

    def embed(self, faces: Pixels) -> Vectors:
        """``(n, side, side, 3)`` in the network's order of channels -> ``(n, dimensions)``."""
        found = []
        for start in range(0, len(faces), self._at_once):
            chosen = faces[start : start + self._at_once]
            found.append(self._run(chosen)[: len(chosen)])
        return np.concatenate(found)

    def _run(self, faces: Pixels) -> NDArray[np.float32]:
        """All that the network gives, also for what fills a fixed batch up."""
        values = (faces.astype(np.float32) - self._mean) / self._deviation
        if self._fixed and len(values) < self._at_once:
            filling = np.zeros((self._at_once - len(values), *values.shape[1:]), np.float32)
            values = np.concatenate([values, filling])
        if self._channels_first:
            values = values.transpose(0, 3, 1, 2)
        (vectors,) = self._session.run([self._output], {self._input: np.ascontiguousarray(values)})
        return np.asarray(vectors, np.float32)


def _output(path: Path, given: list[str], described: str | None) -> str:
    if described is None and len(given) == 1:
        return given[0]
    beside = path.with_suffix(".json").name
    names = ", ".join(given)
    if described is None:
        raise ModelError(
            f"{path} gives several outputs: {names}; say in {beside} beside it which are the"
            f' vectors of faces, such as {{"output": "{given[0]}"}}.'
        )
    if described not in given:
        raise ModelError(
            f"{path} gives no output {described!r}, as {beside} says, but {names}; name one of"
            " these."
        )
    return described


def _side(path: Path, sides: list[int | None], described: int | None) -> int:
    stated = {side for side in sides if side is not None}
    if described is not None:
        stated.add(described)
    if not stated:
        raise ModelError(
            f"{path} leaves the size of its pictures open; write {path.with_suffix('.json').name}"
            ' beside it, such as {"side": 112}.'
        )
    if len(stated) > 1:
        sizes = " and ".join(str(side) for side in sorted(stated))
        raise ModelError(f"{path} should take square pictures of one size, not {sizes} pixels.")
    return stated.pop()


def load(
    path: Path, pictures: FamiliarExtractor, device: str = "cpu", threads: int = 0
) -> AlignedExtractor:
    """An extractor of an ONNX file.

    Args:
        path: The file, with all of its weights in it.
        pictures: Sees the whole pictures.
        device: A torch device's name; a GPU is used where onnxruntime is built for it.
        threads: Of the processor, 0 for all.

    Raises:
        ModelError: The file is missing, damaged or not a face network.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}).") from error
    description = described(path, OnnxDescription)
    session = open_session(data, str(path), device=device, threads=threads)
    identity = hashlib.sha256(data).hexdigest()
    network = OnnxFaces(path, session, description)
    return AlignedExtractor(NAME, identity, network, pictures, description)
