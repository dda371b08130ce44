"""Typed settings that a file, a flag and a program share: read from TOML, checked field by field, written back."""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from saliscope.errors import DataError, OptionError, nearest

__all__ = [
    "Settings",
    "differences",
    "make_settings",
    "plain",
    "read_settings",
    "settings_text",
    "settings_toml",
    "wrong",
]

S = TypeVar("S", bound="Settings")

_WORDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
}


class Settings(BaseModel):
    """Frozen, compared by value; each field has a description. `noun` is what messages call it, `wholes` what a list holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    noun: ClassVar[str] = "setting"
    wholes: ClassVar[Mapping[str, str]] = {}


def wrong(message: str) -> PydanticCustomError:
    """What a validator raises: the words come after the value that was given."""
    return PydanticCustomError("setting", "{message}", {"message": message})


def make_settings(
    kind: type[S], values: Mapping[str, Any], *, places: Mapping[str, str] | None = None
) -> S:
    """Make settings from their fields by name; `places` says for each field where it stands, for the messages.

    Raises `OptionError`, one line for each wrong field: the value given, what is allowed, the nearest name.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as err:
        errors = (e for e in err.errors() if e["type"] != "default_factory_not_called")  # of others
        said = (_complaint(kind, error, values, places or {}) for error in errors)
        raise OptionError("\n".join(dict.fromkeys(said))) from None


def read_settings(
    kind: type[S], file: str, text: str, overrides: Mapping[str, Any], **defaults: Any
) -> S:
    """Read settings from the text of a TOML file called `file`; `overrides` replace its fields, which replace `defaults`.

    Raises `OptionError` for an unknown field or value, with the file and line that it stands in; `DataError` for a file
    that is no TOML.
    """
    try:
        values = {**defaults, **tomllib.loads(text)}
    except tomllib.TOMLDecodeError as err:
        raise DataError(
            f"{kind.noun} {file} is not TOML: {err}; write one `field = value` a line"
        ) from err
    places = {key: f"{kind.noun} {file}{_line(key, text)}" for key in ("", *values)}
    given = dict.fromkeys(overrides, kind.noun)
    return make_settings(kind, {**values, **overrides}, places=places | given)


def settings_text(path: str | os.PathLike[str], *, noun: str, missing: str) -> str:
    """The text of a settings file; `OptionError` where there is none, saying `missing`, `DataError` for an unreadable one."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OptionError(missing) from None
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"{noun} {path} cannot be read ({err}): give a TOML file") from err


def settings_toml(settings: Settings) -> str:
    """Write settings as TOML, one field a line; reading it gives equal settings. Fields that are off are left out."""
    fields = settings.model_dump(mode="python", exclude_none=True)
    return "".join(f"{key} = {_toml(value)}\n" for key, value in fields.items())


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives them back: tuples are lists."""
    found: dict[str, Any] = json.loads(json.dumps(values))
    return found


def differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    free: frozenset[str] = frozenset(),
    prefix: str = "",
) -> list[str]:
    """Say field by field what is different, as "field was A, is B"; fields named in `free` (dotted) may differ."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if before == after or f"{prefix}{key}" in free:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, free=free, prefix=f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key} was {_short(before)}, is {_short(after)}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _line(key: str, text: str) -> str:
    found = re.search(
        rf"^[ \t]*\[*[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*[=.\]]", text, re.MULTILINE
    )
    return f":{text.count(chr(10), 0, found.start()) + 1}" if found else ""


def _complaint(
    kind: type[Settings],
    error: ErrorDetails,
    values: Mapping[str, Any],
    places: Mapping[str, str],
) -> str:
    """One sentence for what pydantic found, with the name of the field first."""
    key = str(error["loc"][0]) if error["loc"] else ""
    place = places.get(key) or places.get("", kind.noun)
    known = kind.model_fields
    if not key:
        return f"{place}: {error['msg']}"
    if error["type"] == "extra_forbidden":
        return f'{place}: there is no field "{key}"; {nearest(key, known)}'
    if error["type"] == "missing" and key in known and len(error["loc"]) == 1:
        return f'{place}: "{key}" is missing ({known[key].description})'
    given = (
        values.get(key) if len(error["loc"]) > 1 else error["input"]
    )  # the list, not one number of it
    return f"{place}: {key} is {_shown(given)}, but {_allowed(kind, error)}"


def _shown(given: Any) -> str:
    """A value as a file has it; what no file can hold as Python does."""
    try:
        return _toml(given)
    except (TypeError, ValueError):
        return str(given)


def _allowed(kind: type[Settings], error: ErrorDetails) -> str:
    """What pydantic wants instead, and for words the nearest of those allowed."""
    if error["type"] == "literal_error":
        words = [w.strip("' ") for w in re.split(r",| or ", error.get("ctx", {})["expected"])]
        allowed = ", ".join(f'"{word}"' for word in words)
        return f"must be one of {allowed}; {nearest(str(error['input']), words)}"
    if error["type"] in _WORDS or len(error["loc"]) > 1:
        whole = kind.wholes.get(str(error["loc"][0]))
        return f"must be {whole or _WORDS.get(error['type'], error['msg'])}"
    return error["msg"].replace("Input should be", "must be")


def _toml(value: Any) -> str:
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but for this one, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        fields = (f"{_toml(str(key))} = {_toml(each)}" for key, each in value.items())
        return f"{{{', '.join(fields)}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf, -inf, nan
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError(f"TOML has no {type(value).__name__}")
