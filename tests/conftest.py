"""What has to happen before any test module is imported."""

from __future__ import annotations

import os
import signal

# Who starts the tests in the background may have had SIGINT ignored, and every process that a test
# starts would inherit that; a signal that is handled is not inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

# TensorFlow takes the number of its threads once in a process, and the trainings that tests compare
# to the last bit ask for one.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
