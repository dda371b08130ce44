"""The page's scripts: ES modules that import each other, put one after the other into a page that may load nothing."""

from __future__ import annotations

import re
from importlib.resources import files

__all__ = ["linked", "static_text"]

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z_]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|const|class) (\w+))", re.MULTILINE)


def static_text(name: str) -> str:
    """The text of a file in `static/`."""
    return (files("saliscope.report") / "static" / name).read_text(encoding="utf-8")


def linked(*entries: str) -> str:
    """The modules named, and all that they import, as one script that defines `modules`, by name.

    A page opened from disk cannot import files, so each module becomes a function that is called once, after those that it
    needs. The files stay plain ES modules: a server can hand them out as they are.
    """
    order: list[str] = []
    for entry in entries:
        _visit(entry, order)
    return "const modules = {};\n" + "".join(_wrapped(name) for name in order)


def _visit(name: str, order: list[str]) -> None:
    if name in order:
        return
    for match in _IMPORT.finditer(static_text(f"{name}.js")):
        _visit(match[2], order)
    order.append(name)


def _wrapped(name: str) -> str:
    text = static_text(f"{name}.js")
    exported = ", ".join(match[1] for match in _EXPORT.finditer(text))
    body = _EXPORT.sub("", _IMPORT.sub(_as_constants, text))
    return f'modules.{name} = (() => {{\n"use strict";\n{body}return {{ {exported} }};\n}})();\n'


def _as_constants(match: re.Match[str]) -> str:
    names = " ".join(match[1].split()).replace(" as ", ": ")
    return f"const {{ {names} }} = modules.{match[2]};\n"
