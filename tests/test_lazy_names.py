"""Packages whose names come when they are used: each has one home, and no module hides it."""

import ast
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

LAZY = [
    "saliscope",
    "saliscope.methods",
    "saliscope.metrics",
    "saliscope.runs",
    "saliscope.training",
]


@pytest.fixture(params=LAZY)
def package(request):
    return import_module(request.param)


def test_every_name_has_one_home_that_owns_it(package):
    homes = [(name, home) for home, names in package._HOMES.items() for name in names]
    assert sorted(name for name, _ in homes) == sorted(package.__all__)
    for name, home in homes:
        assert name in import_module(home).__all__
        assert getattr(package, name) is getattr(import_module(home), name)


def test_a_type_checker_sees_the_same_names_in_the_same_homes(package):
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = [n for n in tree.body if isinstance(n, ast.If) and n.test.id == "TYPE_CHECKING"]
    shown = {line.module: {alias.name for alias in line.names} for line in block.body}
    assert shown == {home: set(names) for home, names in package._HOMES.items()}


def test_no_module_hides_a_name(package):
    """Importing a module puts it into the package under its own name, over a name that is looked up when used."""
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert modules
    assert not modules & set(package.__all__)


def test_an_unknown_name_is_an_attribute_error(package):
    said = f"module '{package.__name__}' has no attribute 'explian'"
    with pytest.raises(AttributeError, match=said):
        package.explian  # noqa: B018 - reading it is the test


def test_the_names_are_listed_for_completion(package):
    others = {"__version__"} if package.__name__ == "saliscope" else set()
    assert set(dir(package)) == {*package.__all__, *others}


def test_a_name_is_looked_up_once(package):
    name = package.__all__[0]
    vars(package).pop(name, None)
    assert getattr(package, name) is vars(package)[name]
