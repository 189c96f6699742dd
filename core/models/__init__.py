"""Everything learned: the face detector and the feature extractor, each with its preprocessing.

Whatever loads a model, `load_detector` and `load_extractor` for a name or the classes that they
load for a folder, gives its weights with their own preprocessing, so that they never meet another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from pydantic import ValidationError

from core.face import Face, Landmarks, Pixels, Vectors
from core.problem import Refusal

SHIPPED = Path(__file__).parent
DEFAULT_DETECTOR = "familiar-face"
DEFAULT_EXTRACTOR = "familiar-character"

ONE_TRAINING = "weights.safetensors"
"""What a training leaves, of which an extractor is still to be made."""


Precision = Literal["float32", "bfloat16", "int8"]
"""What a model's convolutions compute in."""


class ModelError(Refusal):
    """A model cannot be used; the message says why and what to do."""


def first_fault(error: ValidationError) -> str:
    """Where a model's description is wrong, and how, as part of a sentence."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or "it"
    return f"{where}: {fault['msg']}"


class Detector(Protocol):
    """Finds faces.

    Attributes:
        name: For people: of its folder, or of its file where it is a single one.
        sha256: Identity of the weights, 64 hexadecimal digits.
        threshold: Score from which a box counts as a face, 0..1.
    """

    name: str
    sha256: str
    threshold: float

    @property
    def precision(self) -> Precision | None:
        """What its convolutions compute in; None: there is no choice, as with others' models."""
        ...

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """Every face with a score of 0.01 or more, most confident first, for each picture.

        Boxes are in pixels of the picture they were found in and lie within it.
        Safe to call from several threads.
        """
        ...


class Extractor(Protocol):
    """Turns faces and whole pictures into vectors of unit length.

    Attributes:
        name: For people: of its folder, or of its kind where it is a single file.
        sha256: Identity of the weights, 64 hexadecimal digits.
        face_dimensions: Length of a face vector.
        picture_dimensions: Length of a whole-picture vector.
        weights_of_both: ``(a, b)``: the look `both` ranks by ``a * cos_face + b * cos_picture``;
            ``a + b = 1``.
        same_threshold: Face cosine from which two faces count as the same character; None: it was
            never chosen for these weights, and nothing is said to be the same.
        false_accepts: Share of pairs of different characters that reached that cosine when it was
            chosen, 0..1; None: nobody says.
        in_onnxruntime: Whether onnxruntime does nearly all of its work, and PyTorch small steps.
    """

    name: str
    sha256: str
    face_dimensions: int
    picture_dimensions: int
    weights_of_both: tuple[float, float]
    same_threshold: float | None
    false_accepts: float | None
    in_onnxruntime: bool

    @property
    def precision(self) -> Precision | None:
        """What its convolutions compute in; None: there is no choice, as with others' models."""
        ...

    def prepare_face(
        self,
        pixels: Pixels,
        box: tuple[float, float, float, float] | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        """The square ``(s, s, 3)`` that the face network sees, widened by its own margin.

        Args:
            pixels: ``(height, width, 3)``.
            box: The face in pixels of the picture; None where the picture is a face crop already.
            points: The face's landmarks in pixels of the picture, where the detector gives them.
                An extractor of aligned faces goes by them alone; others go by the box.
        """
        ...

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """The square ``(t, t, 3)`` that the picture network sees."""
        ...

    def embed_faces(self, faces: Pixels) -> Vectors:
        """``(n, s, s, 3)`` uint8 -> ``(n, face_dimensions)``, unit length. Thread-safe."""
        ...

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """``(n, t, t, 3)`` uint8 -> ``(n, picture_dimensions)``, unit length. Thread-safe."""
        ...


class PlainExtractor:
    """What holds of an extractor without a threshold and without a choice of precision.

    See `Extractor`.
    """

    same_threshold: float | None = None
    false_accepts: float | None = None
    precision: Precision | None = None
    in_onnxruntime = False


DETECTOR_FORMS = (
    DEFAULT_DETECTOR,
    "saved-model:FOLDER",
    "cascade:FILE.xml",
)
"""How a detector may be named, for people."""

EXTRACTOR_FORMS = (
    DEFAULT_EXTRACTOR,
    "trained:FOLDER",
    "resnet101",
    "resnet101:FILE.pth",
    "ir-se50:FILE.pth",
    "onnx:FILE.onnx",
)
"""How an extractor may be named, for people."""


def load_detector(
    name: str = DEFAULT_DETECTOR, *, precision: Precision = "int8", threads: int = 0
) -> Detector:
    """Load a detector by name, or from files of one's own.

    Args:
        name: One of `DETECTOR_FORMS`. Without the word before the colon, a folder is a
            SavedModel and an ``.xml`` file a cascade.
        precision: What the convolutions of this project's detectors compute in: ``int8`` where
            they have networks for it, else ``float32``. ``bfloat16``, for the shipped one alone,
            is fast on some processors. Other people's stay in single precision.
        threads: Of the processor, 0 for all.

    Raises:
        ModelError: There is no such detector, or its files are missing or damaged.
    """
    if name == DEFAULT_DETECTOR:
        from core.models.detector import SavedModelDetector

        return SavedModelDetector.load(SHIPPED / name, precision=precision, threads=threads)
    kind, path = _named(name)
    if kind in {"cascade", "lbpcascade"} or (kind is None and path.suffix == ".xml"):
        from core.models.cascade import CascadeDetector

        return CascadeDetector.load(path)
    if kind == "saved-model" or (kind is None and path.is_dir()):
        from core.models.detector import SavedModelDetector

        # In bfloat16 only what it has been measured with; int8 is what a detector brings itself.
        if precision == "bfloat16":
            precision = "float32"
        return SavedModelDetector.load(path, described=False, precision=precision, threads=threads)
    raise ModelError(f"There is no detector named {name!r}; known: {', '.join(DETECTOR_FORMS)}.")


def load_extractor(
    name: str = DEFAULT_EXTRACTOR,
    device: str = "cpu",
    *,
    precision: Precision = "float32",
    threads: int = 0,
) -> Extractor:
    """Load an extractor by name, or from files of one's own.

    Args:
        name: One of `EXTRACTOR_FORMS`. Without the word before the colon, a folder is one that
            training wrote and an ``.onnx`` file a face network.
        device: A torch device (``cpu``, ``cuda``, ``cuda:1``).
        precision: What the convolutions of this project's networks compute in; see
            `core.models.extractor.FamiliarExtractor.load`. Other people's stay in single precision.
        threads: Of the processor for networks that onnxruntime runs, 0 for all.

    Raises:
        ModelError: There is no such extractor, or its files are missing or damaged.
    """
    from core.models.extractor import FamiliarExtractor

    def shipped() -> FamiliarExtractor:
        folder = SHIPPED / DEFAULT_EXTRACTOR
        return FamiliarExtractor.load(folder, device, precision=precision, threads=threads)

    if name == DEFAULT_EXTRACTOR:
        return shipped()
    kind, path = _named(name)
    if name == "resnet101" or kind == "resnet101":
        from core.models.resnet101 import ResNet101

        return ResNet101.load(path if kind else None, device=device)
    if kind == "ir-se50":
        from core.models import irse50

        return irse50.load(path, shipped(), device)
    if kind == "onnx" or (kind is None and path.suffix == ".onnx"):
        from core.models import onnx

        return onnx.load(path, shipped(), device, threads)
    if kind == "trained" or (kind is None and path.is_dir()):
        return FamiliarExtractor.load(path, device, precision=precision, threads=threads)
    raise ModelError(f"There is no extractor named {name!r}; known: {', '.join(EXTRACTOR_FORMS)}.")


def role_of(name: str) -> Literal["detector", "extractor"]:
    """Whether `load_detector` or `load_extractor` knows a name.

    Raises:
        ModelError: Neither does.
    """
    kind, path = _named(name)
    if kind is None and path.suffix == ".xml":
        return "detector"
    if kind is None and path.suffix == ".onnx":
        return "extractor"
    if kind is None and path.is_dir():
        of_extractor = any((path / name).is_file() for name in _OF_EXTRACTORS)
        return "extractor" if of_extractor else "detector"
    if kind in _DETECTORS or name == DEFAULT_DETECTOR:
        return "detector"
    if kind in _EXTRACTORS or name in {DEFAULT_EXTRACTOR, "resnet101"}:
        return "extractor"
    known = ", ".join((*DETECTOR_FORMS, *EXTRACTOR_FORMS))
    raise ModelError(f"There is no model named {name!r}; known: {known}.")


def with_whole_path(name: str) -> str:
    """The same model's name, its file named from the root, whatever the working directory."""
    if name in {DEFAULT_DETECTOR, DEFAULT_EXTRACTOR, "resnet101"}:
        return name
    kind, path = _named(name)
    return f"{kind}:{path.resolve()}" if kind else str(path.resolve())


_OF_EXTRACTORS = ("extractor.json", ONE_TRAINING)
"""Files of an extractor, and of a training that one is still to be made of."""

_DETECTORS = {form.partition(":")[0] for form in DETECTOR_FORMS} | {"lbpcascade"}
_EXTRACTORS = {form.partition(":")[0] for form in EXTRACTOR_FORMS}


def _named(name: str) -> tuple[str | None, Path]:
    """The kind of a model and its file; None where no known word stands before a colon."""
    kind, colon, rest = name.partition(":")
    if colon and rest and kind in _DETECTORS | _EXTRACTORS:
        return kind, Path(rest)
    return None, Path(name)
