"""onnxruntime, given networks that come as one piece."""

from __future__ import annotations

import tempfile
from typing import Any, Final

from core.interruption import interruption_later
from core.models import ModelError

_FURTHER_FILES: Final = "session.model_external_initializers_file_folder_path"
"""What onnxruntime calls the folder of files that a network names."""
_SPINNING: Final = "session.intra_op.allow_spinning"
"""Whether threads without work keep a core busy, waiting for more: those of other libraries, which
run before and after, would have to share it with them."""
_ERRORS_ALONE: Final = 3
_PROCESSOR: Final = "CPUExecutionProvider"
_GPU: Final = "CUDAExecutionProvider"


def open_session(content: bytes, what: str, *, device: str = "cpu", threads: int = 0) -> Any:
    """An ``onnxruntime.InferenceSession``.

    Args:
        content: Of an ONNX file, with all of its weights in it.
        what: The network's name in sentences.
        device: A torch device's name; a GPU is used where onnxruntime is built for it, else the
            processor.
        threads: Of the processor, 0 for all.

    Raises:
        ModelError: It is no such file.
    """
    with interruption_later():
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ALONE
    options.intra_op_num_threads = threads
    options.add_session_config_entry(_SPINNING, "0")
    providers: list[tuple[str, dict[str, str]]] = [(_PROCESSOR, {})]
    kind, _, number = device.partition(":")
    if kind == "cuda" and _GPU in onnxruntime.get_available_providers():
        providers.insert(0, (_GPU, {"device_id": number or "0"}))
    with tempfile.TemporaryDirectory() as empty:
        # Further files that it names are looked for where there are none: they would be no part of
        # its hash, and it could name any.
        options.add_session_config_entry(_FURTHER_FILES, empty)
        try:
            return onnxruntime.InferenceSession(content, options, providers=providers)
        except Exception as error:  # onnxruntime's errors share no other class
            if "External data" in str(error):
                raise ModelError(
                    f"{what} keeps weights in further files; save it as one file, as"
                    " onnx.save_model does by itself."
                ) from error
            raise ModelError(f"{what} is not an ONNX file that can be run.") from error
