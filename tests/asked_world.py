"""Runs of a small network that is asked about its maps: their settings, and what the tests of them do to them."""

from saliscope import runs
from saliscope.models import change_preprocessing

METHODS = ("grad-cam@features.2", "gradient")
SETTINGS = {"size": 24, "thresholds": 0, "pointing": (), "batch_size": 4}
ALL = ("faithfulness", "robustness")


def settings_of(world, data, **changes):
    given = SETTINGS | {"methods": METHODS, "split": "all", "weights": "untrained", "ask": ALL}
    return runs.make_run_settings(model=world.model, data=data, **{**given, **changes})


def model_of(model):
    return change_preprocessing(model, size="24")


def cut(part):
    part.write_bytes(part.read_bytes()[:-30])
