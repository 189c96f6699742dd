"""Each model alone: milliseconds a picture, and how much of the machine's rate it reaches.

That rate is measured on a plain matrix product, in the same run and by the same library. Each
library has a process of its own, so that neither waits for the other's threads, and so that never
both of them hold one GPU.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import numpy as np
from PIL import Image
from rich.progress import Progress
from rich.table import Table

from core.face import Pixels
from core.models import Precision

BATCHES: Final = (1, 2, 4, 8, 16, 32)
SIDE: Final = 720
WHOLE_TIMES: Final = 100
_NUMBER: Final = 5
"""Of the drawn picture that is looked at: it is square."""
_LEAST_SECONDS: Final = 0.5
_LEAST_TIMES: Final = 3
_MATRIX: Final = {"CPU": 1024, "GPU": 8192}
"""Rows and columns of the matrices: a GPU needs more to be busy."""

Device = Literal["CPU", "GPU"]
_Measured = TypeVar("_Measured")


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One model on one device in one precision.

    Attributes:
        name: What it is.
        device: Where it ran.
        precision: What its convolutions computed in.
        seconds: For each size of a batch, of the whole batch.
        operations: Floating-point operations that it needs for one picture.
        product: Operations a second of a matrix product by the same library in that precision,
            or in float32 where that is int8.
    """

    name: str
    device: Device
    precision: str
    seconds: dict[int, float]
    operations: int
    product: float

    @property
    def best(self) -> int:
        """The batch in which one picture takes least."""
        return min(self.seconds, key=self.of_one)

    def of_one(self, batch: int) -> float:
        """Seconds for one picture of a batch."""
        return self.seconds[batch] / batch

    def rate(self, batch: int) -> float:
        """Floating-point operations a second in batches of this size."""
        return self.operations / self.of_one(batch)


def measure_models(progress: Progress) -> list[MeasuredModel]:
    """The shipped detector and both networks of the shipped extractor, on all there is."""
    tasks: list[tuple[str, Callable[[Device], list[MeasuredModel]], Device]] = [
        ("the detector", measure_detector, "CPU"),
        ("the extractor", measure_extractor, "CPU"),
        ("the detector on a GPU", measure_detector, "GPU"),
        ("the extractor on a GPU", measure_extractor, "GPU"),
    ]
    measured: list[MeasuredModel] = []
    bar = progress.add_task("", total=len(tasks))
    for what, measure, device in tasks:
        progress.update(bar, description=what)
        measured += measure_alone(measure, device)
        progress.advance(bar)
    return measured


def measure_alone(measure: Callable[..., _Measured], *given: object) -> _Measured:
    """What a function measures in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, *given).result()


def measure_detector(device: Device) -> list[MeasuredModel]:
    """The shipped detector, preprocessing included; nothing where there is no such device."""
    from core.models import DEFAULT_DETECTOR, SHIPPED
    from core.models.detector import SavedModelDetector, letterboxed
    from core.models.precision import bfloat16_is_fast
    from core.models.tensorflow_runtime import keep_off_gpu, tf

    if device == "CPU":
        keep_off_gpu()  # before anything is computed, after which a GPU stays taken
    if device == "GPU" and not tf.config.list_physical_devices("GPU"):
        return []
    picture = picture_with_a_face()
    matrix = tf.random.normal((_MATRIX[device], _MATRIX[device]))
    measured = []
    # What takes a detector's graph to bfloat16, and its networks in int8, are the processor's.
    precisions: tuple[Precision, ...] = ("float32",)
    if device == "CPU":
        precisions = (*_precisions(bfloat16_is_fast("cpu")), "int8")
    for precision in precisions:
        detector = SavedModelDetector.load(
            SHIPPED / DEFAULT_DETECTOR, device.lower(), precision=precision
        )
        # TensorFlow has no matrix product in int8 that is worth the name.
        operand = tf.cast(matrix, "float32" if precision == "int8" else precision)

        def product(operand: Any = operand) -> None:
            tf.linalg.matmul(operand, operand)[0, 0].numpy()

        seen = letterboxed(picture, detector.longest)[0]
        measured.append(
            MeasuredModel(
                f"detector, {seen.shape[1]} x {seen.shape[0]}",
                device,
                precision,
                _by_batch(lambda batch, it=detector: it.detect(list(batch)), picture),  # type: ignore[misc]
                graph_operations(detector.signature, seen),
                _product_rate(product, device),
            )
        )
    return measured


def measure_extractor(device: Device) -> list[MeasuredModel]:
    """Both networks of the shipped extractor; nothing where there is no such device."""
    import torch

    from core.models import DEFAULT_EXTRACTOR, SHIPPED
    from core.models.extractor import FamiliarExtractor
    from core.models.precision import bfloat16_is_fast

    if device == "GPU" and not torch.cuda.is_available():
        return []
    where = "cpu" if device == "CPU" else "cuda"
    matrix = torch.randn(_MATRIX[device], _MATRIX[device], device=where)
    threads = torch.get_num_threads()
    picture = picture_with_a_face()
    measured = []
    precisions: tuple[Precision, ...] = _precisions(bfloat16_is_fast(where))
    if device == "CPU":
        precisions = (*precisions, "int8")
    for precision in precisions:
        torch.set_num_threads(threads)
        extractor = FamiliarExtractor.load(SHIPPED / DEFAULT_EXTRACTOR, where, precision=precision)
        operand = matrix.to(getattr(torch, "float32" if precision == "int8" else precision))

        def product(operand: Any = operand) -> None:
            (operand @ operand)[0, 0].item()

        rate = _product_rate(product, device)
        if precision == "int8":
            torch.set_num_threads(1)  # as `core.models.chosen.load_extractor_of` does
        for name, shape, embed, prepared in (
            (
                "face network",
                extractor.configuration.face,
                extractor.embed_faces,
                extractor.prepare_face(picture, None),
            ),
            (
                "picture network",
                extractor.configuration.picture,
                extractor.embed_pictures,
                extractor.prepare_picture(picture),
            ),
        ):
            measured.append(
                MeasuredModel(
                    f"{name}, {shape.side} px" + (", twice" if shape.twice else ""),
                    device,
                    precision,
                    _by_batch(embed, prepared),
                    2 * shape.multiply_adds,
                    rate,
                )
            )
    return measured


def measure_whole(times: int = WHOLE_TIMES) -> list[float]:
    """Milliseconds from one picture with one face to its vectors, as the settings have the models.

    Both models, and what prepares pictures for them; decoding is not in it.

    Args:
        times: How often, one after the other.
    """
    from core.embed import above_threshold, embed_batch
    from core.models.chosen import load_models
    from core.settings import ModelSettings

    detector, extractor = load_models(ModelSettings())
    picture = picture_with_a_face()
    choose = above_threshold(detector)
    (seen,) = embed_batch([picture], detector, extractor, choose)
    if len(seen.chosen) != 1:
        raise ValueError(f"The picture should show one face, not {len(seen.chosen)}.")
    found = []
    for _ in range(times):
        started = time.perf_counter()
        embed_batch([picture], detector, extractor, choose)
        found.append(1e3 * (time.perf_counter() - started))
    return found


def graph_operations(signature: Any, picture: Pixels) -> int:
    """Floating-point operations of a graph's convolutions for one picture.

    Shapes are read off a run, since graphs for pictures of any size do not state them.

    Args:
        signature: Of a SavedModel, with one input, uint8 ``(n, height, width, 3)``.
        picture: ``(height, width, 3)``.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from core.models.tensorflow_runtime import tf

    form = convert_variables_to_constants_v2(signature, lower_control_flow=False)
    plain = tf.compat.v1.wrap_function(
        lambda: tf.graph_util.import_graph_def(form.graph.as_graph_def(), name=""), []
    )
    convolutions = [
        operation
        for operation in plain.graph.get_operations()
        if operation.type in {"Conv2D", "DepthwiseConv2dNative"}
    ]
    entrance = plain.graph.get_tensor_by_name(form.inputs[0].name)
    look = plain.prune(
        entrance, [(operation.inputs[1], operation.outputs[0]) for operation in convolutions]
    )
    total = 0
    for operation, (kernel, maps) in zip(
        convolutions, look(tf.constant(picture[None])), strict=True
    ):
        rows, columns, entering, _ = kernel.shape
        if operation.type == "DepthwiseConv2dNative":
            entering = 1  # each channel is looked at alone
        total += 2 * rows * columns * entering * int(tf.size(maps))
    return total


def table(measured: list[MeasuredModel]) -> Table:
    """A line for each model, device and precision."""
    result = Table()
    result.add_column("model")
    for heading in (
        "device",
        "precision",
        "GFLOP",
        "batch 1",
        "GFLOP/s",
        "best batch",
        "GFLOP/s",
        "matrix product",
    ):
        result.add_column(heading, justify="right")
    for model in measured:
        result.add_row(
            model.name,
            model.device,
            model.precision,
            f"{model.operations / 1e9:.2f}",
            f"{1e3 * model.of_one(1):.2f} ms",
            f"{model.rate(1) / 1e9:,.0f}",
            f"{1e3 * model.of_one(model.best):.2f} ms at {model.best}",
            f"{model.rate(model.best) / 1e9:,.0f}",
            f"{model.product / 1e9:,.0f}",
        )
    return result


def notes(measured: list[MeasuredModel]) -> list[str]:
    """What the table does not show, and why."""
    found = [
        "One picture's time in batches of 1 and of the size that takes least, of 1, 2, 4, 8, 16"
        " and 32: the quickest of several runs. What prepares the picture is in the detector's time"
        " and not in the networks'. GFLOP and GFLOP/s: 10^9 floating-point operations, and so many"
        " a second."
    ]
    for device in ("CPU", "GPU"):
        here = [model for model in measured if model.device == device]
        if here and not any(model.precision == "bfloat16" for model in here):
            found.append(f"The {device} has no instructions for bfloat16; it is left out.")
    for name, library in (("detector", "TensorFlow"), ("face network", "PyTorch")):
        if not any(it.device == "GPU" and it.name.startswith(name) for it in measured):
            found.append(f"{library} sees no GPU; its lines are left out.")
    return found


def _precisions(fast: bool) -> tuple[Precision, ...]:
    return ("float32", "bfloat16") if fast else ("float32",)


def picture_with_a_face() -> Pixels:
    """A drawn character, ``(SIDE, SIDE, 3)``: what is looked at twice takes its time, too."""
    from cli.demo.characters import CHARACTERS
    from cli.demo.gallery import picture

    drawn = picture(CHARACTERS[0], _NUMBER).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(drawn.convert("RGB"), np.uint8)


def _by_batch(run: Callable[[Pixels], object], picture: Pixels) -> dict[int, float]:
    def of(size: int) -> float:
        batch = np.stack([picture] * size)
        return quickest(lambda: run(batch))

    return {size: of(size) for size in BATCHES}


def _product_rate(product: Callable[[], None], device: Device) -> float:
    return 2 * _MATRIX[device] ** 3 / quickest(product)


def quickest(run: Callable[[], object], least_seconds: float = _LEAST_SECONDS) -> float:
    """Seconds of the quickest of several runs, which other work on the machine disturbs least."""
    run()
    found: list[float] = []
    while sum(found) < least_seconds or len(found) < _LEAST_TIMES:
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)
