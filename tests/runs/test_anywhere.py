"""What run.json keeps means the same from any working folder."""

import os

import pytest

from saliscope.errors import DataError, ModelError
from saliscope.runs import make_run_settings
from saliscope.runs.anywhere import from_anywhere


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "cwd/photos").mkdir(parents=True)
    (tmp_path / "cwd/resnet18").mkdir()
    (tmp_path / "cwd/trained").mkdir()
    (tmp_path / "cwd/boxes.csv").write_text("")
    (tmp_path / "cwd/photos/inside.csv").write_text("")
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("HOME", str(tmp_path / "own"))
    return tmp_path / "cwd"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("resnet18", "resnet18"),  # a network, though there is a folder of that name
        ("timm:resnet18:drop_rate=0.1", "timm:resnet18:drop_rate=0.1"),
        ("hf:microsoft/resnet-50", "hf:microsoft/resnet-50"),
        ("hf:trained", "hf:{here}/trained"),
        ("critternet", "critternet"),
        ("trained", "{here}/trained"),
        ("./resnet18", "{here}/resnet18"),
        ("../cwd/trained/", "{here}/trained"),
        ("net.py:build", "{here}/net.py:build"),
        ("net.py", "{here}/net.py"),
        ("./a/../net.py:build:width=2:deep=true", "{here}/net.py:build:width=2:deep=true"),
        ("/else/net.py:build", "/else/net.py:build"),
    ],
)
def test_networks(here, given, kept):
    found = from_anywhere(make_run_settings(model=given, data="critters"))
    assert found.model == kept.format(here=here)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("critters:variant=cue:rho=0.9", "critters:variant=cue:rho=0.9"),
        ("stanford_dogs:validation=0.2", "stanford_dogs:validation=0.2"),
        ("voc:root=../voc:year=2012", "voc:root={up}/voc:year=2012"),
        ("folder:photos", "folder:{here}/photos"),
        ("folder:./photos/../photos/:test=0.5", "folder:{here}/photos:test=0.5"),
        ("folder:~/photos", "folder:{up}/own/photos"),
        ("folder:photos:boxes=boxes.csv:seed=1", "folder:{here}/photos:boxes={here}/boxes.csv:seed=1"),
        ("folder:photos:boxes=inside.csv", "folder:{here}/photos:boxes=inside.csv"),
        ("folder:a:b/c", "folder:{here}/a:b/c"),
        ("folder:C:\\photos", "folder:{here}/C:\\photos"),
        ("hf:me/photos:boxes=objects", "hf:me/photos:boxes=objects"),
    ],
)  # fmt: skip
def test_data(here, given, kept):
    found = from_anywhere(make_run_settings(model="resnet18", data=given))
    assert found.data == kept.format(here=here, up=here.parent)


def test_weights_labels_and_root(here):
    given = make_run_settings(
        model="resnet18", data="voc", weights="w.pt", labels="~/l.txt", root="d"
    )
    found = from_anywhere(given)
    assert (found.weights, found.labels, found.root) == (
        f"{here}/w.pt",
        f"{here.parent}/own/l.txt",
        f"{here}/d",
    )
    for word in ("pretrained", "untrained"):
        assert from_anywhere(make_run_settings(model="a", data="voc", weights=word)).weights == word


def test_what_is_given_in_memory_has_any_name(here):
    given = make_run_settings(model="my net: 2", data="my data", root="x", labels="l.txt")
    assert from_anywhere(given, model=False, data=False) == given
    with pytest.raises(ModelError, match="is no option"):
        from_anywhere(given, data=False)
    with pytest.raises(DataError, match='no data set is called "my data"'):
        from_anywhere(given, model=False)


def test_absolute_names_stay(here):
    given = make_run_settings(
        model="net.py:build", data="folder:photos:boxes=boxes.csv", labels="l"
    )
    once = from_anywhere(given)
    os.chdir(here.parent)
    assert from_anywhere(once) == once
