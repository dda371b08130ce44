"""Fine-tuning: recipes, networks to train, the training itself, and the folders it leaves."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "Recipe",
    "TensorReport",
    "Trainable",
    "Trained",
    "build_trainable",
    "make_recipe",
    "read_recipe",
    "recipe_names",
    "recipe_toml",
    "save_half",
    "save_model",
    "train",
]

_HOMES = {
    "saliscope.training.fit": ("Trained", "train"),
    "saliscope.training.networks": ("TensorReport", "Trainable", "build_trainable"),
    "saliscope.training.recipes": (
        "Recipe",
        "make_recipe",
        "read_recipe",
        "recipe_names",
        "recipe_toml",
    ),
    "saliscope.training.saving": ("save_half", "save_model"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from saliscope.training.fit import Trained, train
    from saliscope.training.networks import TensorReport, Trainable, build_trainable
    from saliscope.training.recipes import (
        Recipe,
        make_recipe,
        read_recipe,
        recipe_names,
        recipe_toml,
    )
    from saliscope.training.saving import save_half, save_model


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line asks for recipes without torch."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
