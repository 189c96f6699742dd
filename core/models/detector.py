"""Face detectors stored as a TensorFlow SavedModel with the Object Detection API's signature.

The folder of a detector holds ``detector.json`` and ``saved_model/``. The signature
``serving_default`` takes ``input_tensor``, uint8 ``(n, height, width, 3)``, and gives
``detection_boxes`` (``[ymin, xmin, ymax, xmax]``, 0..1 of the picture), ``detection_scores``,
``detection_classes`` and ``num_detections``; so any detector exported by that API can take
the place of the shipped one, without ``detector.json`` too. Networks in int8 lie in ``int8/``
(`core.models.quantised`). Where it gives
``detection_keypoints`` (``[y, x]``, five a face), they become the faces' landmarks.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.face import Face, Landmarks, Pixels
from core.interruption import interruption_later
from core.models import ModelError, Precision, first_fault
from core.models.graph_safety import refuse, refuse_reaching_out
from core.models.quantised import networks_listed, quantised_graph

LEAST_SCORE = 0.01
"""Boxes below this score are not worth passing on."""

GREY = 114
"""Of what lies outside of a picture, each colour; networks are trained with it, too."""

_MULTIPLE = 32
_MOST_AT_ONCE = 16
_POINTS = 5
_NEEDED = {
    "detection_boxes": (None, None, 4),
    "detection_scores": (None, None),
    "num_detections": (None,),
}
"""What a detector gives, and the shape of it."""


class Description(BaseModel):
    """``detector.json``: what a SavedModel does not say about itself.

    Attributes:
        threshold: Score from which a box counts as a face, 0..1.
        longest: The picture's longest side as the network wants to see it, in pixels. A network
            that takes one size alone says so itself.
        classes: Of the detector's classes, those that are faces; None: all of them.
        files: SHA-256 of every file of the SavedModel and of its networks in int8, by its path from
            the folder; where none is given, the SavedModel is taken as it is. Networks that are
            not listed are not looked at; other files that are not are refused.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    threshold: float = Field(ge=0, le=1)
    longest: int = Field(ge=_MULTIPLE, multiple_of=_MULTIPLE)
    classes: tuple[int, ...] | None = None
    files: dict[str, str] | None = Field(default=None, min_length=1)

    def networks(self, folder: Path) -> tuple[Path, ...]:
        """The files of the networks in int8 that belong to a detector, in order."""
        return tuple(folder / name for name in networks_listed(self.files or {}))


UNDESCRIBED = Description(threshold=0.5, longest=640)
"""Of a detector that comes without ``detector.json``."""


class SavedModelDetector:
    """Finds faces with a SavedModel. See `core.models.Detector`.

    Attributes:
        signature: TensorFlow's function from pictures to boxes.
        model: That it belongs to.
        classes: Of the detector's classes, those that are faces; None: all of them.
        frame: Height and width of the pictures that it takes; None: any.
        longest: The picture's longest side as the network sees it, in pixels.
        at_once: Pictures that it is given together at most.
        networks: Files of its networks in int8, in order; empty where it has none.
        precision: What its convolutions compute in.
    """

    def __init__(
        self,
        folder: Path,
        sha256: str,
        description: Description,
        model: Any,
        *,
        precision: Precision = "float32",
        threads: int = 0,
    ) -> None:
        """
        Args:
            folder: The detector's; its name is for people.
            sha256: Of all of the model's files.
            description: What the model does not say of itself.
            model: As `tf.saved_model.load` gives it.
            precision: What convolutions compute in; ``int8`` is taken where `description` lists
                networks for it, else ``float32``.
            threads: Of the processor for those, 0 for all.

        Raises:
            ModelError: The model's signature is not that of the Object Detection API, or its
                networks in int8 are not this model's.
        """
        name = folder.name
        self.name = name
        self.networks = description.networks(folder)
        self.threshold = description.threshold
        self.sha256 = sha256
        self.classes = description.classes
        if precision == "int8" and not self.networks:
            precision = "float32"
        self.precision: Precision = precision
        # `signature` alone does not keep the model's variables alive.
        self.model = model
        try:
            self.signature = model.signatures["serving_default"]
        except (AttributeError, KeyError) as error:
            raise ModelError(f"The detector {name} has no signature serving_default.") from error
        missing = [key for key in _NEEDED if key not in self.signature.structured_outputs]
        if missing:
            raise ModelError(
                f"The detector {name} does not give {', '.join(missing)}, as a detector exported"
                " by the Object Detection API does."
            )
        for key, shape in _NEEDED.items():
            given = self.signature.structured_outputs[key].shape
            if not given.is_compatible_with(shape):
                raise ModelError(
                    f"The detector {name} gives {key} of the shape {given} instead of the Object"
                    f" Detection API's, {tuple('n' if n is None else n for n in shape)}."
                )
        self._input, self.at_once, self.frame = _entrance(name, self.signature)
        self.longest = description.longest if self.frame is None else max(self.frame)
        self._quantised = (
            quantised_graph(folder, description.files or {}, model, tuple(_NEEDED), threads)
            if precision == "int8"
            else None
        )

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "cpu",
        *,
        described: bool = True,
        precision: Precision = "float32",
        threads: int = 0,
    ) -> SavedModelDetector:
        """Read a detector's folder.

        Args:
            folder: Holds ``saved_model/`` or is one itself, and ``detector.json``.
            device: ``cpu`` keeps TensorFlow off every GPU of this process; ``gpu`` does not.
            described: Whether ``detector.json`` has to be there; `UNDESCRIBED` holds otherwise.
            precision: What convolutions compute in. ``bfloat16`` is fast on some processors alone;
                ``int8`` is taken where ``detector.json`` lists networks for it, else ``float32``.
            threads: Of the processor, 0 for all; TensorFlow has one number for a process, and
                keeps that with which it began.

        Raises:
            ModelError: A file is missing or is not the one that ``detector.json`` was made for,
                or the model is not a detector.
        """
        _refuse_around(folder)
        description = _description(folder, described)
        saved = folder if (folder / "saved_model.pb").is_file() else folder / "saved_model"
        found = _hashes(folder, saved, description)
        refuse_reaching_out(saved / "saved_model.pb")

        from core.models.tensorflow_runtime import keep_off_gpu, set_threads, tf

        if device == "cpu":
            keep_off_gpu()
        if threads:
            set_threads(threads)
        try:
            with interruption_later():
                model = tf.saved_model.load(str(saved))
        except Exception as error:  # of a damaged file TensorFlow raises nearly everything
            raise ModelError(
                f"{saved} cannot be loaded as a SavedModel; fetch it again, or export it anew."
            ) from error
        # What only loading may do, an answer may not.
        for signature in model.signatures.values():
            refuse(saved / "saved_model.pb", [signature.graph.as_graph_def()])
        return cls(
            folder.resolve(),
            identity(found, description),
            description,
            model,
            precision=precision,
            threads=threads,
        )

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """Every face with a score of 0.01 or more, most confident first, for each picture.

        Args:
            images: Each ``(height, width, 3)`` uint8 RGB, of any size.

        Returns:
            For each picture its faces; boxes in its own pixels, within it.
        """
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        scaled = [letterboxed(image, self.longest, self.frame) for image in images]
        for index, (pixels, _) in enumerate(scaled):
            alike[pixels.shape[:2]].append(index)
        found: list[tuple[Face, ...]] = [()] * len(images)
        for indices in alike.values():
            for start in range(0, len(indices), self.at_once):
                chosen = indices[start : start + self.at_once]
                boxes, scores, points = self._look(np.stack([scaled[i][0] for i in chosen]))
                for row, index in enumerate(chosen):
                    height, width = images[index].shape[:2]
                    scale = scaled[index][1]
                    found[index] = faces_of(
                        boxes[row] / scale,
                        scores[row],
                        height,
                        width,
                        None if points is None else points[row] / scale[:2],
                    )
        return found

    def _look(
        self, batch: Pixels
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """Boxes ``(n, m, 4)`` ``[x0, y0, x1, y1]`` in pixels of the batch, scores ``(n, m)``, and
        five points ``(n, m, 5, 2)`` ``[x, y]`` where the model gives them."""
        from core.models.tensorflow_runtime import set_bfloat16, tf

        set_bfloat16(self.precision == "bfloat16")
        if self._quantised is not None:
            result = self._quantised(batch)
        else:
            result = self.signature(**{self._input: tf.constant(batch)})
        relative = np.asarray(result["detection_boxes"].numpy(), np.float32)
        scores = np.asarray(result["detection_scores"].numpy(), np.float32).copy()
        counts = np.asarray(result["num_detections"].numpy()).astype(int)
        if not len(relative) == len(scores) == len(counts) == len(batch):
            raise ModelError(
                f"The detector {self.name} does not answer for each of {len(batch)} pictures;"
                " export it with a batch of 1 if it is for one at a time."
            )
        scores[np.arange(scores.shape[1])[None] >= counts[:, None]] = 0.0
        if self.classes is not None and "detection_classes" in result:
            classes = np.asarray(result["detection_classes"].numpy()).astype(int)
            scores[~np.isin(classes, self.classes)] = 0.0
        height, width = batch.shape[1:3]
        # The API's boxes begin with y: here, once, they are turned to the project's order.
        boxes = relative[..., [1, 0, 3, 2]] * np.array([width, height, width, height], np.float32)
        points = None
        if "detection_keypoints" in result:
            places = np.asarray(result["detection_keypoints"].numpy(), np.float32)
            if places.shape[2:] == (_POINTS, 2):
                points = places[..., ::-1] * np.array([width, height], np.float32)
        return boxes, scores, points


def _entrance(name: str, signature: Any) -> tuple[str, int, tuple[int, int] | None]:
    """Name of the signature's input, pictures it takes at once, and its one size if it has one."""
    from core.models.tensorflow_runtime import tf

    entering = signature.structured_input_signature[1]
    if len(entering) != 1:
        raise ModelError(f"The detector {name} takes {len(entering)} inputs instead of pictures.")
    ((key, spec),) = entering.items()
    if spec.dtype != tf.uint8 or spec.shape.rank != 4 or spec.shape[3] not in {3, None}:
        raise ModelError(
            f"The detector {name} takes {spec.dtype.name} {spec.shape} instead of pictures, uint8"
            " (n, height, width, 3): export it with the input type image_tensor."
        )
    batch, height, width = spec.shape[0], spec.shape[1], spec.shape[2]
    if batch not in {None, 1}:
        raise ModelError(f"The detector {name} takes {batch} pictures at a time, no more, no less.")
    if (height is None) != (width is None):
        fixed, open_side = ("width", "height") if height is None else ("height", "width")
        raise ModelError(
            f"The detector {name} takes pictures of one {fixed} and any {open_side}, {spec.shape}:"
            " export it with both sides open, or both fixed."
        )
    frame = None if height is None else (int(height), int(width))
    return key, batch or _MOST_AT_ONCE, frame


def _refuse_around(folder: Path) -> None:
    """Refuse a folder that is none of a detector and holds one, as a training leaves it."""
    if any((folder / name).exists() for name in ("detector.json", "saved_model", "saved_model.pb")):
        return
    for described in sorted(folder.glob("*/detector.json")):
        raise ModelError(f"There is no detector in {folder} itself: name {described.parent}.")


def _description(folder: Path, described: bool) -> Description:
    path = folder / "detector.json"
    if not described and not path.exists():
        return UNDESCRIBED
    try:
        return Description.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"The detector in {folder} has no readable detector.json.") from error
    except ValidationError as error:
        raise ModelError(f"{path} does not describe a detector: {first_fault(error)}.") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} does not describe a detector: it is not UTF-8.") from error


def _hashes(folder: Path, saved: Path, description: Description) -> dict[str, str]:
    """SHA-256 of every file of a detector; held against the description where it has them."""
    expected = description.files
    if expected is None:
        if not (saved / "saved_model.pb").is_file():
            raise ModelError(
                f"There is no detector in {folder}: neither it nor its folder saved_model holds"
                " a file saved_model.pb."
            )
        return {path.relative_to(saved).as_posix(): _hash(path) for path in _files(saved)}
    needed = [path.relative_to(folder).as_posix() for path in _files(saved)]
    if unlisted := [name for name in needed if name not in expected]:
        raise ModelError(
            f"{folder / 'detector.json'} lists files, but not {unlisted[0]}, which belongs to the"
            " detector; list them all with their SHA-256, or leave files out."
        )
    for name, value in expected.items():
        if _hash(folder / name) != value:
            raise ModelError(
                f"The detector's file {folder / name} is damaged or was replaced; "
                "fetch it again, or train and export the detector anew."
            )
    return expected


def _files(saved: Path) -> Iterator[Path]:
    """What TensorFlow reads of a SavedModel."""
    yield saved / "saved_model.pb"
    for name in ("variables", "assets"):
        yield from sorted(path for path in (saved / name).rglob("*") if path.is_file())


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"The detector's file {path} is missing.") from error


def letterboxed(
    pixels: Pixels, longest: int, frame: tuple[int, int] | None = None
) -> tuple[Pixels, NDArray[np.float32]]:
    """Scale a picture, and fill it up at the right and at the bottom.

    Args:
        pixels: ``(height, width, 3)``.
        longest: The longer side afterwards, a multiple of 32.
        frame: ``(height, width)`` of the result in place of that; the picture fits into it.

    Returns:
        The picture, with both sides a multiple of 32 where no frame is given, and by how much its
        content was scaled, ``[x, y, x, y]``.
    """
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if frame is not None:
        scale = min(frame[0] / height, frame[1] / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if (times := min(int(1 / scale), height, width)) > 1:
        # By a whole number first: OpenCV needs a fraction of the time. A last row or column that
        # is not whole is left out; what is left to do is less than half as much again.
        height, width = height - height % times, width - width % times
        reduced = (width // times, height // times)
        whole = pixels[:height, :width]
        pixels = np.asarray(cv2.resize(whole, reduced, interpolation=cv2.INTER_AREA), np.uint8)
        method = cv2.INTER_LINEAR
    else:
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    if size != pixels.shape[1::-1]:
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)
    below, beside = -size[1] % _MULTIPLE, -size[0] % _MULTIPLE
    if frame is not None:
        below, beside = frame[0] - size[1], frame[1] - size[0]
    grey = (GREY, GREY, GREY)
    filled = cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=grey)
    across, down = size[0] / width, size[1] / height
    return np.asarray(filled, np.uint8), np.array([across, down, across, down], np.float32)


def faces_of(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    height: int,
    width: int,
    points: NDArray[np.float32] | None = None,
) -> tuple[Face, ...]:
    """Faces of one picture, most confident first, cut at its edges.

    Args:
        boxes: ``(n, 4)`` ``[x0, y0, x1, y1]`` in pixels of the picture.
        scores: ``(n,)``.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        points: Landmarks, ``(n, 5, 2)`` ``[x, y]`` in pixels of the picture.
    """
    cut = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    order = np.argsort(-scores, kind="stable")
    return tuple(
        Face(
            (float(cut[i, 0]), float(cut[i, 1]), float(cut[i, 2]), float(cut[i, 3])),
            float(min(scores[i], 1.0)),
            None if points is None else _landmarks(points[i]),
        )
        for i in order
        if scores[i] >= LEAST_SCORE and cut[i, 0] < cut[i, 2] and cut[i, 1] < cut[i, 3]
    )


def _landmarks(points: NDArray[np.float32]) -> Landmarks | None:
    """None where a point is missing, which some detectors write as not a number."""
    if not np.isfinite(points).all():
        return None
    return cast(Landmarks, tuple((float(x), float(y)) for x, y in points))


def identity(files: dict[str, str], description: Description) -> str:
    """One hash for all files of a detector, whatever their order, and for how it is asked.

    The threshold is no part of it: faces are kept with their scores.
    """
    lines = "".join(f"{path} {files[path]}\n" for path in sorted(files))
    asked = description.model_dump_json(include={"longest", "classes"})
    return hashlib.sha256(f"{lines}{asked}".encode()).hexdigest()
