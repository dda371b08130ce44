"""Several processes train one network; here on the CPU, as on several GPUs."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.path.insert(0, {place!r})
import torch
torch.set_num_threads(1)
import toy
from saliscope.training import train
from saliscope.training.trainer import is_first

if __name__ == "__main__":
    splits = {{"train": toy.data(count=21, broken=(3,)), "val": toy.data("val", 9), "test": toy.data("test", 10)}}
    done = train({model!r}, splits, toy.recipe(workers=int(sys.argv[2])), sys.argv[1], device="cpu", devices=2, say=print)
    print("first" if is_first() else "second", len(done.history), flush=True)
"""


def run(toy, tmp_path, name, workers):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(place=str(toy.file.parent), model=toy.model))
    words = [sys.executable, "-W", "error", program, tmp_path / name, str(workers)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=180)


@pytest.mark.slow
def test_two_processes_train_one_network(toy, look, tmp_path):
    done = run(toy, tmp_path, "out", 0)
    lines = done.stdout.splitlines()
    assert "first 4" in lines
    assert "second 4" in lines
    assert sum(line.startswith("epoch 1/4") for line in lines) == 1  # only one of them speaks
    assert sum("are left out" in line for line in lines) == 1
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["device"] == "2 x cpu, 1 thread, float32"
    assert record["scores"]["test_images"] == 10
    rows = look.course(tmp_path / "out")
    assert [row["steps"] for row in rows] == [5, 10, 15, 20]  # 20 images in fours, two for each
    assert [row["val_accuracy"] * 9 % 1 for row in rows] == pytest.approx([0] * 4, abs=1e-9)
    assert rows[-1]["val_accuracy"] > 0.6

    run(toy, tmp_path, "again", 2)
    first, second = (look.weights(tmp_path / name) for name in ("out", "again"))
    assert look.same(first, second)
