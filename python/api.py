"""Writes the reference of the package, from its sources: `python3 python/api.py > docs/python-api.md`.

It reads and does not import, so that it needs neither the library nor anything that is not Python's own.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Union

#: What people look for first; the rest stands as it is imported.
BEFORE = {"engine": 0, "session": 1}
SOURCES = Path(__file__).parent / "src/rosterkit"
Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
Documented = Union[ast.Module, ast.ClassDef, Function]


class Module:
    """A source file, and what stands at its top."""

    def __init__(self, name: str) -> None:
        self.tree = ast.parse((SOURCES / f"{name}.py").read_text(encoding="utf-8"))
        self.named: dict[str, ast.stmt] = {}
        for statement in self.tree.body:
            if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                self.named[statement.name] = statement
            elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self.named[statement.targets[0].id] = statement

    def public(self) -> list[str]:
        return [name for name in self.named if not name.startswith("_")]

    def entry(self, name: str) -> Iterator[str]:
        statement = self.named[name]
        if isinstance(statement, ast.ClassDef):
            yield from of_class(statement)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"### `{signature(statement)}`"
            yield text(statement)
        else:
            yield f"### `{ast.unparse(statement)}`"


def text(node: Documented) -> str:
    """Its docs; examples, which are indented there, stay code."""
    return ast.get_docstring(node) or ""


def signature(function: Function, without_self: bool = False) -> str:
    arguments = function.args
    if without_self and arguments.args and not is_decorated(function, "staticmethod"):
        arguments.args = arguments.args[1:]
    returns = "" if function.returns is None else f" -> {ast.unparse(function.returns)}"
    begins = "async " if isinstance(function, ast.AsyncFunctionDef) else ""
    return f"{begins}{function.name}({ast.unparse(arguments)}){returns}"


def is_decorated(node: Union[ast.ClassDef, Function], name: str) -> bool:
    return any(ast.unparse(d).split("(")[0] == name for d in node.decorator_list)


def of_class(node: ast.ClassDef) -> Iterator[str]:
    bases = [ast.unparse(base) for base in node.bases]
    shown = [base for base in bases if not base.startswith("_") and base != "Owner"]
    yield f"### class `{node.name}`" + (f" ({', '.join(shown)})" if shown else "")
    yield text(node)
    is_enum = any(base.endswith("Enum") for base in bases)
    rows: list[str] = []
    for statement in node.body:
        if is_enum and isinstance(statement, ast.Assign):
            rows.append(f"- `{ast.unparse(statement)}`")
        elif is_decorated(node, "dataclass") and isinstance(statement, ast.AnnAssign):
            field = ast.unparse(statement.target)
            value = "" if statement.value is None else ast.unparse(statement.value)
            default = f" = {value}" if value and not value.startswith("field(") else ""
            if not field.startswith("_"):
                rows.append(f"- `{field}: {ast.unparse(statement.annotation)}{default}`")
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and not statement.name.startswith("_"):
            kind = "property " if is_decorated(statement, "property") else ""
            kind = "classmethod " if is_decorated(statement, "classmethod") else kind
            shown_as = statement.name if kind == "property " else signature(statement, without_self=True)
            docs = text(statement).replace("\n", "\n  ")
            rows.append(f"- {kind}`{shown_as}`  \n  {docs}".replace("\n  \n", "\n\n"))
    if rows:
        yield "\n".join(rows)


def imported(tree: ast.Module) -> dict[str, str]:
    """Which module each name of the package comes from."""
    found = {}
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            found.update({alias.asname or alias.name: statement.module for alias in statement.names})
    return found


def page() -> Iterator[str]:
    yield "# The Python package"
    yield "Made by `cargo xtask docs` from the sources in [python/src](../python/src/rosterkit)."
    package = Module("__init__")
    origin = imported(package.tree)
    modules: dict[str, Module] = {}
    yield "## `rosterkit`"
    yield text(package.tree)
    public = [name for name in origin if not name.startswith("_")]
    for name in sorted(public, key=lambda name: BEFORE.get(origin[name], len(BEFORE))):
        module = modules.setdefault(origin[name], Module(origin[name]))
        yield from module.entry(name)
        if name == "Engine":
            yield from module.entry("engine_options")
    for name in ("commands", "aio"):
        module = Module(name)
        yield f"## `rosterkit.{name}`"
        yield text(module.tree)
        for own in module.public():
            # What the package has from there stands above.
            if origin.get(own) != name:
                yield from module.entry(own)


if __name__ == "__main__":
    sys.stdout.buffer.write("\n\n".join(part for part in page() if part).encode() + b"\n")
