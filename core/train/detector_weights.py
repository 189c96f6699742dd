"""Weights that trainings on boxed pictures write and begin with, and what these have learned."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from core.models.tensorflow_runtime import Module
from core.train.detector_network import DetectorNetwork, named_variables
from core.train.parts import Boxed, refuse_learned
from core.train.results import DETECTOR, DETECTOR_WEIGHTS, REFINER_WEIGHTS
from core.train.session import TrainingError, write_tensors

_LEARNED = "learned"


def write_weights(path: Path, network: Module, width: int, learned: Collection[str]) -> None:
    """Write a network's weights, so that a reader never finds half of them.

    Args:
        path: The file.
        network: Of either stage.
        width: Of the network.
        learned: Hashes of the pictures that it was trained on; see `learned_by`.
    """
    tensors = {n: v.numpy() for n, v in named_variables(network).items()}
    # Of several facts a file would hold now one first and now another: it would not be the same.
    rows = [list(bytes.fromhex(each)) for each in sorted(learned)]
    tensors[_LEARNED] = np.array(rows, np.uint8)
    write_tensors(path, tensors, {"width": str(width)})


def learned_by(path: Path) -> frozenset[str]:
    """What the weights of a file were trained on, also before they became these.

    Returns:
        The SHA-256 of each picture's file, in hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
        SafetensorError: It is damaged, or tells of no pictures.
    """
    with safe_open(path, framework="np") as file:
        return frozenset(row.tobytes().hex() for row in file.get_tensor(_LEARNED))


def learned_by_start(start: Path | None, boxed: Boxed) -> frozenset[str]:
    """What the weights that a training begins with have learned; see `learned_by`.

    Raises:
        AnnotationError: See `core.train.parts.refuse_learned`.
        TrainingError: They do not say it.
    """
    if start is None:
        return frozenset()
    try:
        learned = learned_by(start)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{start} does not say what it has learned; begin with other weights, or with none."
        ) from error
    refuse_learned(start, learned, boxed)
    return learned


def read_weights(path: Path) -> DetectorNetwork:
    """The network that `write_weights` wrote.

    Raises:
        TrainingError: The file holds no such network.
    """
    try:
        with safe_open(path, framework="np") as file:
            network = DetectorNetwork(int(file.metadata()["width"]))
            for name, variable in named_variables(network).items():
                variable.assign(file.get_tensor(name).reshape(variable.shape))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{path} does not hold a detector's weights; give the detector.safetensors that"
            " `familiar train detector` wrote."
        ) from error
    return network


class Start(NamedTuple):
    """What a second stage's training begins with.

    Attributes:
        weights: By their names.
        detector: That they are of; None: they are of a second stage.
    """

    weights: Mapping[str, Any]
    detector: DetectorNetwork | None


def read_start(path: Path, width: int) -> Start:
    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            told = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError):
        names, told, weights = set(), {}, {}
    # Only a second stage has one layer for all of what it sees.
    detector = None
    if "whole.kernel" not in names:
        detector = read_weights(path)
        weights, told = named_variables(detector), {"width": str(detector.width)}
    if told.get("width") != str(width):
        raise TrainingError(
            f"{path} is of width {told.get('width')}, the second stage of width {width}."
        )
    return Start(weights, detector)


def learned_by_first(detector: Path, boxed: Boxed) -> frozenset[str]:
    """What the first stage has learned: by the weights of its training, where it lies beside them.

    Raises:
        AnnotationError: See `core.train.parts.refuse_learned`.
        TrainingError: These weights are damaged.
    """
    place = detector.resolve()
    if place.name != DETECTOR:
        return frozenset()
    learned: frozenset[str] = frozenset()
    for weights in (place.with_name(name) for name in (DETECTOR_WEIGHTS, REFINER_WEIGHTS)):
        if weights.exists():
            try:
                known = learned_by(weights)
            except (OSError, SafetensorError) as error:
                raise TrainingError(
                    f"{weights} is damaged, which says what {place} has learned; train that anew,"
                    " or give another detector."
                ) from error
            refuse_learned(weights, known, boxed)
            learned |= known
    return learned
