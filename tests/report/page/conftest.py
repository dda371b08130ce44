import importlib.util
from pathlib import Path

import pytest

from saliscope.report.gallery import choose
from saliscope.report.html import Album
from saliscope.report.image_rows import make_rows
from saliscope.report.material import Material
from saliscope.report.payload import make_payload
from saliscope.report.study.primary import find_primary, find_reference
from saliscope.report.study.together import study_of
from saliscope.report.thumbnails import Photographs
from saliscope.runs import open_run


@pytest.fixture(scope="session")
def make_run():
    """Write a run that no network made: `make_run(folder, images, ...)`, see tests/made_runs.py."""
    file = Path(__file__).parents[2] / "made_runs.py"
    spec = importlib.util.spec_from_file_location("made_runs", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_run


@pytest.fixture(scope="session")
def folder(make_run, tmp_path_factory):
    """A run of 24 images, four classified wrongly, two that could not be read, and its photographs."""
    return make_run(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def made(folder):
    return open_run(folder)


@pytest.fixture(scope="session")
def material(made):
    return material_of([made])


def material_of(runs):
    study = study_of(runs)
    return Material(study, find_primary(study), find_reference(study))


@pytest.fixture(scope="session")
def album(material, made):
    groups = choose(material)
    payload = make_payload(material, groups, [Photographs(made.settings)])
    pictures = {image["id"]: number for number, image in enumerate(payload.images)}
    return Album(groups, payload, make_rows(material, pictures))
