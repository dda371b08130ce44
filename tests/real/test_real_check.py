"""The audit and the contact sheet on real photographs: the copy is partial and clean, and nothing is slow."""

from pathlib import Path

import pytest

from saliscope.cli.app import main
from saliscope.data import data_kind, open_data, read_samples
from saliscope.data.check import audit
from saliscope.report.contact_sheet import contact_sheet

ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "stanford_dogs"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not ROOT.is_dir(), reason="needs ../shared/data/stanford_dogs"),
]


@pytest.mark.parametrize("deep", [False, True])
def test_the_copy_is_partial_and_clean(deep):
    splits = [open_data("stanford_dogs", split, root=ROOT) for split in ("train", "val", "test")]
    found = audit(splits, data_kind("stanford_dogs"), deep=deep, threads=1)
    assert found.findings == ()
    assert [(c.split, c.samples, c.published) for c in found.counts[2:]] == [
        ("test", 624, 8580),
        ("train + val", 624, 12_000),
    ]
    assert (found.classes, found.published_classes) == (26, 120)


def test_its_contact_sheet():
    data = open_data("stanford_dogs", "test", root=ROOT)
    failed = []
    samples = [sample for _, sample in read_samples(data, range(0, 624, 78))]
    sheet = contact_sheet(samples, classes=data.classes, columns=4, on_failed=failed.append)
    assert sheet.shape[1] == 2 * 16 + 4 * 220 + 3 * 10
    assert failed == []


def test_the_command(tmp_path, capsys):
    assert main(["data", "check", "stanford_dogs", "--root", str(ROOT), "--no-progress"]) == 0
    said = capsys.readouterr()
    assert "partial copy: 7.3%" in said.out
    assert said.err == "stanford_dogs: no faults\n"
    sheet = tmp_path / "sheet.jpg"
    words = ["show", "stanford_dogs", "--root", str(ROOT), "--only-class", "beagle", "-o", str(sheet)]  # fmt: skip
    assert main(["data", *words]) == 0
    assert capsys.readouterr().err == f"24 shown, 0 failed -> {sheet}\n"
