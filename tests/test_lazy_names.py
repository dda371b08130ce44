"""Packages whose names come when they are used: each has one home, and no module hides it."""

import pkgutil
from importlib import import_module

import pytest

LAZY = ["saliscope", "saliscope.methods", "saliscope.metrics", "saliscope.runs"]


@pytest.fixture(params=LAZY)
def package(request):
    return import_module(request.param)


def test_every_name_has_one_home_that_owns_it(package):
    homes = [(name, home) for home, names in package._HOMES.items() for name in names]
    assert sorted(name for name, _ in homes) == sorted(package.__all__)
    for name, home in homes:
        assert name in import_module(home).__all__
        assert getattr(package, name) is getattr(import_module(home), name)


def test_no_module_hides_a_name(package):
    """Importing a module puts it into the package under its own name, over a name that is looked up when used."""
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert modules
    assert not modules & set(package.__all__)


@pytest.mark.parametrize("name", ["saliscope.methods", "saliscope.metrics", "saliscope.runs"])
def test_an_unknown_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'explian'"):
        import_module(name).explian  # noqa: B018 - reading it is the test


@pytest.mark.parametrize("name", ["saliscope.methods", "saliscope.metrics"])
def test_the_names_are_listed_for_completion(name):
    assert set(dir(import_module(name))) == set(import_module(name).__all__)
