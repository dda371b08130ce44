"""Fine-tuning: recipes, networks to train, the training itself, and the folders it leaves."""

from typing import TYPE_CHECKING

from saliscope.lazy import lazy_names

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

# The command line asks for recipes without torch.
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
