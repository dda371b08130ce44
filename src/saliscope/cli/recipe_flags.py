"""The fields of a recipe as flags of the command line."""

from __future__ import annotations

from dataclasses import asdict, field, make_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from cyclopts import Parameter

from saliscope.cli.options import comma_numbers
from saliscope.training.recipes import Recipe

__all__ = ["RecipeFlags", "overrides"]

_TRIPLES = ("mean", "std")


def _flag(name: str) -> tuple[str, Any, Any]:
    """One flag: the field's type, or None where it is not given."""
    info = Recipe.model_fields[name]
    kind: Any = info.annotation
    leading = False
    if name in _TRIPLES:
        kind, leading = str, True
    elif get_origin(kind) is tuple:
        kind = list[str]
    elif type(None) in get_args(kind) and kind != str | None:
        # What the recipe says can be taken back; first, for None itself is what is not given.
        kind = Literal["none"] | kind
    words = (info.description or "").rstrip(".")
    shown = Parameter(
        help=words[0].lower() + words[1:] if words[1:2].islower() else words,
        negative=(),
        allow_leading_hyphen=leading,
    )
    return name, Annotated[kind | None, shown], field(default=None)


RecipeFlags = make_dataclass(
    "RecipeFlags",
    [_flag(name) for name in Recipe.model_fields if name != "name"],
    frozen=True,
    kw_only=True,
    namespace={"__module__": __name__},
)
"""Every field of `Recipe` but its name, None where the flag is not given."""


def overrides(flags: Any) -> dict[str, Any]:
    """The fields that were given, as `read_recipe` takes them; raises `OptionError` for what are no three numbers."""
    found: dict[str, Any] = {}
    for name, value in asdict(flags).items():
        if value is None:
            continue
        if name in _TRIPLES:
            found[name] = comma_numbers(value, 3, f"--{name}")
        elif isinstance(value, list):
            found[name] = tuple(part for word in value for part in word.split(",") if part)
        else:
            found[name] = (
                None if value == "none" and name not in ("augment", "cache", "freeze") else value
            )
    return found
