"""What asks no network starts without torch, in a fresh interpreter: it costs seconds, and hundreds of megabytes a process."""

import subprocess
import sys

import pytest

from saliscope.runs.place import open_place
from saliscope.runs.record import read_record
from saliscope.runs.store import MEASURED


def loads_torch(code):
    """Run code in a new interpreter; whether torch is loaded at its end."""
    code += "\nimport sys\nprint('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1] == "True"


def test_torch_is_seen_where_it_is_loaded():
    assert loads_torch("import saliscope.metrics.curves")


@pytest.mark.parametrize(
    "module",
    [
        "saliscope.metrics",
        "saliscope.metrics.every",
        "saliscope.methods",
        "saliscope.runs.measure_stage",
        "saliscope.runs.measurement",
        "saliscope.runs.run",
        "saliscope.report.findings",
    ],
)
def test_a_module(module):
    assert not loads_torch(f"import {module}")


def test_facts_and_scores_of_maps():
    assert not loads_torch(
        "from saliscope.metrics import FAITHFULNESS, INQUIRIES, every_metric, gini, infidelity\n"
        "import numpy as np\n"
        "assert every_metric()['max-sensitivity'].direction == 'lower'\n"
        "assert FAITHFULNESS['deletion']([1.0, 0.5, 0.0]) == 0.5\n"
        "assert infidelity([1.0], [1.0]) == 0 and gini(np.eye(2)) == 0.5\n"
        "assert 'curves' in INQUIRIES"
    )


def test_an_opened_run(finished):
    assert not loads_torch(
        "import saliscope as sc\n"
        f"run = sc.open_run({str(finished)!r})\n"
        "assert len(run.scores) and len(run.curves)\n"
        "assert run.explanations('cat/p1.png')[0].box().area"
    )


def test_a_process_that_measures(kept):
    """Its work, made and done as the process does it; see `giving_out`."""
    key = "0123456789ab"
    assert not loads_torch(
        "from saliscope.runs.measure_stage import _measurer\n"
        "from saliscope.runs.place import open_place\n"
        "from saliscope.runs.record import read_record\n"
        "from saliscope.runs.store import Store\n"
        f"place = open_place({str(kept)!r})\n"
        f"work = _measurer(read_record(place).settings(), None, place.address, {key!r}, 0)\n"
        "names = Store(place).parts('maps')\n"
        "assert len(list(work(iter(names)))) == len(names) > 0"
    )
    for table in MEASURED:
        assert list((kept / table).glob(f"*.{key}.parquet"))


def test_measuring_again(kept):
    assert not loads_torch(
        "from saliscope import runs\n"
        f"assert runs.measure({str(kept)!r}, thresholds=3, workers=1).done == 11"
    )
    record = read_record(open_place(kept))
    assert record.measure["thresholds"] == 3
    assert record.sessions[-1].machine
    assert "torch" in record.sessions[0].machine
    assert "torch" not in record.sessions[-1].machine


def test_a_report(kept):
    assert not loads_torch(
        "from saliscope.report.command import write_report\n"
        f"write_report([{str(kept)!r}], replicates=100, figures=False)"
    )
    assert list(kept.rglob("*.html"))
