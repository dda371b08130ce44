"""Nothing goes on when a training is killed."""

import signal
import subprocess
import sys
import time

import psutil

SCRIPT = """
from saliscope.data import open_data
from saliscope.models.preprocessing import Preprocessing
from saliscope.training.images import Images, read_images

read_images(Images(open_data("critters:count=50000", "train"), Preprocessing((160, 160))), keep=False, workers=2)
"""


def test_workers_do_not_outlive_a_killed_training():
    with subprocess.Popen([sys.executable, "-c", SCRIPT]) as process:
        parent, workers = psutil.Process(process.pid), []
        end = time.monotonic() + 60
        while len(workers) < 2 and time.monotonic() < end:
            time.sleep(0.1)
            workers = parent.children()
        time.sleep(1.0)  # they read by now, and their pipes are full
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=10)
    for worker in alive:
        worker.kill()
    assert not alive
