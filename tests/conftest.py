"""What has to happen before any test module is imported."""

from __future__ import annotations

import contextlib

# torch's optimisers load Triton where it is installed. Its LLVM and TensorFlow's end the process
# where TensorFlow's came first, and which comes first would depend on which tests are run.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401
