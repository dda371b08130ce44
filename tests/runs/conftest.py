"""A little world to evaluate in: a network, photographs in class folders with boxes, data with several classes an image."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from polars.testing import assert_frame_equal

from saliscope import runs
from saliscope.models import load_model
from saliscope.runs.store import ASKED
from saliscope.runs.tables import TABLES

# A program of its own, so that other processes can open the same things.
WORLD = '''
import os
import signal
from pathlib import Path

import numpy as np
import torch
from torch import nn

from saliscope.boxes import Box
from saliscope.data import Listing, Region, Sample, open_data
from saliscope.errors import DataError
from saliscope.images import Photo


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, 1, 1), nn.ReLU()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        return self.fc(self.pool(self.features(x)).flatten(1))


def build(num_classes: int = 3):
    return Net(num_classes)


def picture(number, height=40, width=60):
    """Grain with a bright block, elsewhere for each number."""
    random = np.random.default_rng(number)
    pixels = random.integers(0, 90, (height, width, 3), dtype=np.uint8)
    y, x = 4 + number * 3 % 16, 5 + number * 7 % 30
    pixels[y : y + 14, x : x + 18, number % 3] += 140
    return pixels


CLASSES = ("dog", "Potted plant", "person")


class Several:
    """Images that hold several classes, as in VOC and COCO: difficult and crowd regions, masks, ignored pixels."""

    def __init__(self, split):
        self.split = split

    def __call__(self, index):
        regions = REGIONS[index]
        if isinstance(regions, str):
            raise DataError(regions)
        masks = None if index not in MASKS else Masks(MASKS[index])
        return Sample(f"v{index}", Photo(picture(index)), None, self.split, regions, (40, 60), mask_reader=masks)


class Masks:
    def __init__(self, boxes):
        self.boxes = boxes

    def __call__(self):
        if self.boxes is None:
            raise DataError("the masks of this image are damaged")
        found = {}
        for name, (x0, y0, x1, y1) in self.boxes.items():
            found[name] = np.zeros((40, 60), bool)
            found[name][y0:y1, x0:x1] = True
        return found


REGIONS = {
    0: (Region(Box(4, 4, 24, 20), "dog"), Region(Box(30, 10, 50, 30), "person"), Region(Box(0, 0, 9, 9), "dog")),
    1: (Region(Box(5, 5, 25, 25), "dog", difficult=True), Region(Box(20, 8, 44, 34), "dog"), Region(Box(1, 1, 4, 4), "cow")),
    2: (Region(Box(0, 0, 60, 40), "Potted plant", crowd=True), Region(Box(30, 4, 55, 28), "Potted plant")),
    3: (Region(Box(8, 8, 20, 20), "person", crowd=True),),
    4: (Region(Box(8, 8, 20, 20), "dog", difficult=True),),
    5: (),
    6: "the annotation of v6 is damaged",
    7: (Region(Box(10, 6, 30, 26), "person"), Region(Box(1, 1, 59, 39), "person", part="head")),
    8: (Region(Box(10, 6, 30, 26), "person"),),
}
MASKS = {
    0: {"dog": (4, 4, 24, 20), "person": (30, 10, 50, 30), "object": (4, 4, 50, 30), "ignore": (0, 30, 60, 40)},
    7: {"person": (12, 8, 28, 24), "border": (10, 6, 30, 26), "evidence": (0, 0, 0, 0)},
    8: None,
}


class OneKills:
    """Photographs of which one ends the process that reads it, the first time or always; not the process that began."""

    def __init__(self, folder, mark, always):
        self.folder, self.mark, self.always, self.began = folder, Path(mark), always, os.getpid()

    def __call__(self, index):
        if index == 5 and os.getpid() != self.began and (self.always or not self.mark.exists()):
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return open_data(f"folder:{self.folder}:boxes=boxes.csv", "all")[index]


def killing(folder, mark, always):
    whole = open_data(f"folder:{folder}:boxes=boxes.csv", "all")
    read = OneKills(folder, mark, always)
    return Listing(whole.name, "all", whole.classes, whole.ids, whole.labels, read)


class Elsewhere:
    """Photographs that cannot be had in another process: `how` is "dies" or "fails" when it arrives there, "bug" when it reads."""

    def __init__(self, folder, how):
        self.folder, self.how, self.began = folder, how, os.getpid()

    def __setstate__(self, state):
        self.__dict__ = state
        if os.getpid() != self.began and self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if os.getpid() != self.began and self.how == "fails":
            raise DataError("it is not on this machine")

    def __call__(self, index):
        if os.getpid() != self.began and self.how == "bug":
            raise KeyError("a bug")
        return open_data(f"folder:{self.folder}:boxes=boxes.csv", "all")[index]


def elsewhere(folder, how):
    whole = open_data(f"folder:{folder}:boxes=boxes.csv", "all")
    return Listing(whole.name, "all", whole.classes, whole.ids, whole.labels, Elsewhere(folder, how))


def several(split="test", count=9):
    ids = [f"v{i}" for i in range(count)]
    return Listing("several", split, CLASSES, ids, [None] * count, Several(split))
'''

NAMES = ("cat", "owl", "red fox")


def _write_photos(folder, count=4):
    """Class folders with `count` photographs each; boxes.csv knows all but the last of each class, two of the second."""
    rows = ["file,x0,y0,x1,y1"]
    random = np.random.default_rng(5)
    for c, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            height, width = 36 + 5 * (i % 6), 56 - 4 * (i % 6)
            pixels = random.integers(0, 90, (height, width, 3), dtype=np.uint8)
            x, y = 3 + 5 * c, 2 + 4 * (i % 6)
            pixels[y : y + 16, x : x + 20, c] += 150
            Image.fromarray(pixels).save(folder / name / f"p{i}.png")
            if i < count - 1:
                rows.append(f"{name}/p{i}.png,{x},{y},{x + 20},{y + 16}")
            if i == 1:
                rows.append(f"{name}/p{i}.png,{width - 12},0,{width - 2},9")
    (folder / "boxes.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The program above, imported: `world.several()`, `world.file`, `world.model` ("FILE.py:build"), `world.Net(n)`."""
    file = tmp_path_factory.mktemp("program") / "little_world.py"
    file.write_text(WORLD)
    sys.path.insert(0, str(file.parent))  # other processes are told of it
    spec = importlib.util.spec_from_file_location("little_world", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["little_world"] = module
    spec.loader.exec_module(module)
    yield SimpleNamespace(file=file, model=f"{file}:build", **vars(module))
    sys.path.remove(str(file.parent))
    del sys.modules["little_world"]


@pytest.fixture(scope="session")
def write_photos():
    """Write class folders with boxes.csv: `write_photos(folder, count)`."""
    return _write_photos


@pytest.fixture(scope="session")
def _photos(tmp_path_factory):
    return _write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture
def photos(_photos, tmp_path):
    """Twelve photographs in three class folders, and boxes.csv: a copy."""
    return Path(shutil.copytree(_photos, tmp_path / "photos"))


def _settings(world, photos, **more):
    own = {
        "model": world.model, "weights": "untrained", "num_classes": 3, "size": "32", "split": "all",
        "data": f"folder:{photos}:boxes=boxes.csv", "methods": ["cam", "grad-cam@features.1"],
        "thresholds": 20, "batch_size": 4,
    }  # fmt: skip
    return runs.make_run_settings(**{**own, **more})


@pytest.fixture(scope="session")
def settings_of(world):
    """Make settings for a folder of photographs: `settings_of(folder, target="both", ...)`."""
    return lambda photos, **more: _settings(world, photos, **more)


@pytest.fixture
def settings(settings_of, photos):
    """The same for `photos`, or other ones: `settings(target="both", ...)`."""
    return lambda **more: settings_of(more.pop("photos", photos), **more)


@pytest.fixture(scope="session")
def _damaged(_photos, tmp_path_factory):
    folder = Path(shutil.copytree(_photos, tmp_path_factory.mktemp("damaged") / "photos"))
    broken = folder / "owl/p2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    return folder


@pytest.fixture(scope="session")
def finished(world, _damaged, tmp_path_factory):
    """A finished run, to read only: all targets, both rules; owl/p2.png is damaged."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    found = runs.evaluate(
        _settings(world, _damaged, target="both", rules=["min-max", "max"]), folder
    )
    assert (found.done, found.failed) == (11, 1)
    return folder


@pytest.fixture
def kept(finished, tmp_path):
    """A copy of the finished run, to change."""
    return Path(shutil.copytree(finished, tmp_path / "kept"))


@pytest.fixture(scope="session")
def plain(world, _photos, tmp_path_factory):
    """The run of `settings()` that nobody stopped, over photographs that are all well; to read only."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    assert runs.evaluate(_settings(world, _photos), folder).done == 12
    return folder


@pytest.fixture(scope="session")
def singles(world, _photos, tmp_path_factory):
    """The same with one image a batch: stopped anywhere and continued, the batches are the same."""
    folder = tmp_path_factory.mktemp("runs") / "singles"
    assert runs.evaluate(_settings(world, _photos, batch_size=1), folder).done == 12
    return folder


def tables(folder):
    """All tables of a run, in an order that does not depend on how it was made, without what the clock said."""
    run = runs.open_run(folder)
    found = {}
    for name in TABLES:
        frame = getattr(run, name)
        keys = ("split", "index", "spec", "target", "metric", "protocol", "rule", "mask")
        found[name] = frame.drop("seconds", strict=False).sort(
            [c for c in keys if c in frame.columns]
        )
    return found


def same(a, b, *, but=()):
    """Two runs hold the same rows, to the bit."""
    first, second = tables(a), tables(b)
    for name in TABLES:
        if name not in but:
            assert_frame_equal(first[name], second[name], check_exact=True)
            assert len(first[name]) > 0 or name in ("pixels", *ASKED, "sanity"), name


def raw_rows(folder, table):
    """How many rows the files of a table hold, repeated ones too."""
    return sum(len(pl.read_parquet(file)) for file in (Path(folder) / table).glob("*.parquet"))


def once(folder):
    """No row of a run is written twice."""
    run = runs.open_run(folder)
    for name in TABLES:
        assert raw_rows(folder, name) == len(getattr(run, name)), name


def record(folder):
    return json.loads((Path(folder) / "run.json").read_text())


def files(folder):
    """Every file below a folder with its content."""
    found = (p for p in Path(folder).rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def data_of(folder):
    """The words that open the data of a run."""
    return runs.open_run(folder).settings.data


@pytest.fixture
def look():
    """Ways to look at a run: `tables`, `same(a, b)`, `once(a)`, `raw_rows(a, table)`, `record(a)`, `files(a)`, `data_of(a)`."""
    return SimpleNamespace(
        tables=tables,
        same=same,
        once=once,
        raw_rows=raw_rows,
        record=record,
        files=files,
        data_of=data_of,
    )


class Watch:
    """Notes what it is told; interrupts when `at` images are done in a stage."""

    def __init__(self, stage="", at=None):
        self.stage, self.at = stage, at
        self.begun, self.said, self.now, self.done, self.failed = [], [], "", 0, 0

    def begin(self, stage, total, done):
        self.begun.append((stage, total, done))
        self.now, self.done, self.failed = stage, 0, 0

    def step(self, done, failed):
        self.done += done
        self.failed += failed
        if self.now == self.stage and self.at is not None and self.done + self.failed >= self.at:
            raise KeyboardInterrupt

    def say(self, message):
        self.said.append(message)


@pytest.fixture
def watch():
    return Watch


@pytest.fixture(scope="session")
def data(write_photos, tmp_path_factory):
    """The name of a folder of photographs with boxes; never changed."""
    return f"folder:{write_photos(tmp_path_factory.mktemp('asked') / 'photos')}:boxes=boxes.csv"


@pytest.fixture(scope="session")
def model(world):
    """A network without training; never changed."""
    torch.manual_seed(3)
    return load_model(f"{world.model}", "untrained")
