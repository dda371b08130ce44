"""The names of the package come when they are used, and no module hides one of them."""

import pkgutil
from importlib import import_module

import pytest

from saliscope import metrics


def test_every_name_has_one_home_that_owns_it():
    homes = [(name, home) for home, names in metrics._HOMES.items() for name in names]
    assert sorted(name for name, _ in homes) == sorted(metrics.__all__) == sorted(dir(metrics))
    for name, home in homes:
        assert name in import_module(home).__all__
        assert getattr(metrics, name) is getattr(import_module(home), name)


def test_no_module_hides_a_name():
    """Importing a module puts it into the package under its own name, over a name that is looked up when used."""
    modules = {module.name for module in pkgutil.iter_modules(metrics.__path__)}
    assert "scores" in modules
    assert not modules & set(metrics.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'saliscope.metrics' has no attribute 'infidelty'"):
        metrics.infidelty  # noqa: B018 - reading it is the test
