"""TensorFlow and PyTorch in one process."""

import subprocess
import sys

BOTH = """
from core.models.tensorflow_runtime import tf
import torch
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).step()
print(float(tf.constant(1.0)))
"""


def test_pytorch_can_train_where_tensorflow_came_first():
    ended = subprocess.run(
        [sys.executable, "-c", BOTH], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.strip() == "1.0"
