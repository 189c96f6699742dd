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


TOGETHER = r"""
import os, threading, time
from core.models.tensorflow_runtime import without_greetings
def quietly(number):
    with without_greetings():
        os.write(2, b"I0000 oneDNN custom operations are on.\n")
        os.write(2, b"from thread %d\n" % number)
        time.sleep(0.05 * number)
threads = [threading.Thread(target=quietly, args=[number]) for number in (3, 1, 2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os.write(2, b"afterwards\n")
"""


def test_greetings_are_left_out_and_nothing_else_whoever_holds_them_back():
    ended = subprocess.run(
        [sys.executable, "-c", TOGETHER],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said = ended.stderr.splitlines()
    assert sorted(said[:-1]) == ["from thread 1", "from thread 2", "from thread 3"]
    assert said[-1] == "afterwards"
