"""The data of a run, where it lies now."""

from saliscope.runs import make_run_settings
from saliscope.runs.splits import moved


def test_another_folder_of_the_same_data():
    for name, expected in [
        ("folder:/old/photos:boxes=b.csv:test=0.5", "folder:/new:boxes=b.csv:test=0.5"),
        ("folder:/old", "folder:/new"),
    ]:
        found = moved(make_run_settings(model="a", data=name, root="/new"))
        assert (found.data, found.root) == (expected, None)
    for given in (
        make_run_settings(model="a", data="voc", root="/new"),
        make_run_settings(model="a", data="folder:/old"),
    ):
        assert moved(given) == given
