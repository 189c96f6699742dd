"""TensorFlow, brought in without its greetings on the terminal.

Its first lines are written before any log level is read, straight to the process's standard
error; everywhere in `core`, TensorFlow comes from here.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

_GREETINGS = (
    b"absl::InitializeLog",
    b"oneDNN custom operations",
    b"rebuild TensorFlow",
    b"cpu_feature_guard",
)

logger = logging.getLogger(__name__)

_held = threading.RLock()

_in_bfloat16 = False


@contextmanager
def without_greetings() -> Iterator[None]:
    """Hold back what is written to standard error, and pass on all but the greetings. For one
    thread at a time: standard error is the process's."""
    with _held:
        yield from _holding_back()


def _holding_back() -> Iterator[None]:
    try:
        original = os.dup(2)
    except OSError:  # started without a standard error: nothing to keep clean
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not any(greeting in line for greeting in _GREETINGS):
                    os.write(2, line)


def keep_off_gpu() -> None:
    """Hide every GPU from TensorFlow: beside PyTorch on one device it is reported to crash."""
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        logger.warning("TensorFlow was in use already; it keeps the GPU that it has taken.")


def set_threads(count: int) -> None:
    """Let TensorFlow use so many threads of the processor, 0 for all."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
    except RuntimeError:
        logger.warning("TensorFlow was in use already; it keeps the threads that it has.")


def set_bfloat16(fast: bool) -> None:
    """Let graphs that run from now on convolve in bfloat16, or in the precision they were made in.

    TensorFlow keeps both forms of a graph, so that going back and forth costs nothing.
    """
    global _in_bfloat16  # noqa: PLW0603 - as TensorFlow's own option is, which is slow to ask
    if fast != _in_bfloat16:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": fast})
        _in_bfloat16 = fast


def is_stateful(operation: str) -> bool:
    """Whether TensorFlow knows an operation as one that does more than its outputs show; no
    operation that it does not know at all is."""
    definition = op_def_registry.get(operation)
    return definition is not None and bool(definition.is_stateful)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if find_spec("triton") is not None:
    # PyTorch loads it late, such as when an optimiser is made. Both it and TensorFlow carry LLVM,
    # and the process is aborted where TensorFlow's is there first.
    import_module("triton")
with without_greetings():
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry


class Module(tf.Module):  # type: ignore[misc]  # TensorFlow carries no types
    """What holds variables, and other modules."""


__all__ = [
    "Module",
    "is_stateful",
    "keep_off_gpu",
    "saved_model_pb2",
    "set_bfloat16",
    "set_threads",
    "tf",
    "without_greetings",
]
