"""The fields of typed settings as flags of the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, field, make_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cyclopts import Parameter

from saliscope.cli.options import comma_numbers
from saliscope.settings import Settings

__all__ = ["make_flags", "overrides"]

_TRIPLES = ("mean", "std")


def make_flags(
    kind: type[Settings],
    *,
    without: Collection[str] = (),
    names: Mapping[str, str | list[str]] | None = None,
    groups: Mapping[str, str] | None = None,
) -> Any:
    """A dataclass with every field of some settings as a flag, None where the flag is not given.

    `names` gives flags another name than their field has, `groups` the heading in --help. A list is repeated or separated by commas.
    """
    fields = [
        _flag(kind, name, (names or {}).get(name), (groups or {}).get(name))
        for name in kind.model_fields
        if name not in without
    ]
    return make_dataclass(
        f"{kind.__name__}Flags",
        fields,
        frozen=True,
        kw_only=True,
        namespace={"__module__": __name__},
    )


def _flag(
    kind: type[Settings], name: str, flag: str | list[str] | None, group: str | None
) -> tuple[str, Any, Any]:
    info = kind.model_fields[name]
    given: Any = info.annotation
    bare = _without_none(given)
    leading = False
    if name in _TRIPLES:
        given, leading = str, True
    elif get_origin(bare) is tuple:
        given = list[str]
    elif bare is bool:
        given = bool
    elif type(None) in get_args(given) and given != str | None:
        # What a file says can be taken back; first, for None itself is what is not given.
        given = Literal["none"] | given
    words = (info.description or "").rstrip(".")
    more: dict[str, Any] = {} if flag is None else {"name": flag}
    if group is not None:
        more["group"] = group
    shown = Parameter(
        help=words[0].lower() + words[1:] if words[1:2].islower() else words,
        negative=None if bare is bool else (),
        allow_leading_hyphen=leading,
        **more,
    )
    return name, Annotated[given | None, shown], field(default=None)


def _without_none(kind: Any) -> Any:
    parts = [part for part in get_args(kind) if part is not type(None)]
    is_union = get_origin(kind) in (Union, UnionType)
    return parts[0] if is_union and len(parts) == 1 else kind


def overrides(flags: Any, *, words: Collection[str] = ()) -> dict[str, Any]:
    """The fields that were given; "none" means None, or an empty list, but for fields in `words`, which know that word.

    Raises `OptionError` for what are no three numbers.
    """
    found: dict[str, Any] = {}
    for name, value in asdict(flags).items():
        if value is None:
            continue
        if name in _TRIPLES:
            found[name] = comma_numbers(value, 3, f"--{name}")
        elif isinstance(value, list):
            parts = [part for word in value for part in _split(word) if part]
            found[name] = () if parts == ["none"] and name not in words else tuple(parts)
        else:
            found[name] = None if value == "none" and name not in words else value
    return found


def _split(word: str) -> list[str]:
    """Cut a list at its commas; those before another option belong to their word ("x:threshold=0.1,other=2,y")."""
    found: list[str] = []
    for part in word.split(","):
        if found and "=" in part.partition(":")[0]:
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found
