"""The models that settings name, each on its device and in its precision."""

from __future__ import annotations

from typing import Literal

from core.models import (
    DEFAULT_DETECTOR,
    DEFAULT_EXTRACTOR,
    Detector,
    Extractor,
    Precision,
    load_detector,
    load_extractor,
)
from core.models.first_look import look_first
from core.settings import ModelSettings


def extractor_precision(setting: Precision | Literal["auto"], device: str) -> Precision:
    """What a precision of the settings means for the extractor on a torch device."""
    if setting != "auto":
        return setting
    if device.startswith("cpu"):
        return "int8"
    from core.models.precision import bfloat16_is_fast

    return "bfloat16" if bfloat16_is_fast(device) else "float32"


def load_models(settings: ModelSettings, *, look: bool = True) -> tuple[Detector, Extractor]:
    """The models that the settings name.

    Args:
        settings: Name them.
        look: Let models that are not shipped see a picture; False where the caller will.

    Raises:
        core.models.ModelError: One of them cannot be used.
    """
    return load_detector_of(settings, look=look), load_extractor_of(settings, look=look)


def load_detector_of(settings: ModelSettings, *, look: bool = True) -> Detector:
    """The detector that the settings name, in their precision; for `look` see `load_models`.

    Raises:
        core.models.ModelError: It cannot be used.
    """
    # It stays on the processor, wherever the extractor runs.
    detector = load_detector(
        settings.detector,
        precision="int8" if settings.precision == "auto" else settings.precision,
        threads=settings.threads,
    )
    if look and settings.detector != DEFAULT_DETECTOR:
        look_first(detector)
    return detector


def load_extractor_of(settings: ModelSettings, *, look: bool = True) -> Extractor:
    """The extractor that the settings name, on their device and in their precision.

    For `look` see `load_models`.

    PyTorch, which has one number of threads for a process, is given that of the settings, or one
    where onnxruntime does the extractor's work, as it does in int8.

    Raises:
        core.models.ModelError: It cannot be used.
    """
    import torch

    from core.models.device import torch_device  # a detector is loaded without PyTorch

    device = torch_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    extractor = _extractor_on(device, settings)
    if extractor.in_onnxruntime:
        # What is left to PyTorch are small steps. Its threads, which wait for more by spinning,
        # would hold the cores that onnxruntime's need.
        torch.set_num_threads(1)
    if look and settings.extractor != DEFAULT_EXTRACTOR:
        look_first(extractor)
    return extractor


def _extractor_on(device: str, settings: ModelSettings) -> Extractor:
    def load(precision: Precision) -> Extractor:
        return load_extractor(
            settings.extractor, device, precision=precision, threads=settings.threads
        )

    extractor = load(extractor_precision(settings.precision, device))
    if settings.precision == "auto" and extractor.precision == "float32":
        from core.models.precision import bfloat16_is_fast

        if bfloat16_is_fast(device):  # it has no networks in int8
            return load("bfloat16")
    return extractor
