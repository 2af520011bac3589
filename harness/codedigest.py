"""A digest of the code that can change a result; comments, docstrings and layout are left out."""

from __future__ import annotations

import ast
import functools
import hashlib
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.types import ConfigError

GENERATORS = {
    "defects": "harness.data.defects",
    "rooms": "harness.data.rooms",
    "streets": "harness.data.streets",
}
OBJECTS = "harness.data.objects"
"""The procedural generator of each family, objects where none is named; folders of pictures are digested by content."""

# CPython before 3.12 miscounts its recursion depth where two threads parse at once (SystemError).
_PARSER = threading.Lock()

_METRICS = ("harness.metrics",)
_SHARED = ("methods.blocks", "harness.cameras", "harness.priors", "harness.backbones")
FOLLOWED: dict[str, tuple[str, ...]] = {
    "method": _SHARED,
    "methods.blocks": _SHARED,
    "harness.cameras": _SHARED,
    "harness.data": ("harness.data",),
    "suites.protocols": ("suites.protocols", "harness.judges", "harness.cameras", *_METRICS),
    "harness.judges": ("harness.judges", *_METRICS),
    "harness.backbones": ("harness.backbones",),
    "harness.metrics": _METRICS,
}
"""Which imports of a package belong to a result that uses it."""


def code_digest(root: Path, folder: Path | None, protocol: str, family: str = "", base: Path | None = None) -> str:
    """SHA-256 over the method's folder and the blocks it imports transitively, the folder of the method it is plugged
    into with its blocks, the generator of the data's ``family``, and the protocol with its metrics and judges.

    ``root`` holds the packages; ``folder`` None leaves out the method (reference rows), an empty ``protocol`` leaves
    out the evaluation. Stable across Python versions, paths and machines.
    """
    files = {f"method/{path.name}": path for path in sorted(folder.glob("*.py"))} if folder else {}
    files |= {f"base/{path.name}": path for path in sorted(base.glob("*.py"))} if base else {}
    pending = [GENERATORS.get(family, OBJECTS), *([f"suites.protocols.{protocol}"] if protocol else [])]
    for source in files.values():
        pending += _followed("method", imports(source))
    seen: set[str] = set()
    while pending:
        module = pending.pop()
        path = None if module in seen else _file_of(root, module)
        seen.add(module)
        if path is not None:
            files[module] = path
            pending += _followed(module, imports(path, module))
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}={_file_digest(files[name], files[name].stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _followed(importer: str, names: Iterable[str]) -> list[str]:
    places = next((followed for package, followed in FOLLOWED.items() if _below(importer, package)), ())
    return [name for name in names if any(_below(name, place) for place in places)]


def _below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def imports(path: Path, module: str = "") -> tuple[str, ...]:
    """Every module a file may import, as absolute dotted names, imports inside functions included. ``from a import b``
    gives both ``a`` and ``a.b``; relative imports are resolved where ``module`` is the file's own name."""
    return _imports(path, module, path.stat().st_mtime_ns)


def source_digest(text: str, where: str = "<source>") -> str:
    """SHA-256 of a module's syntax tree without docstrings, so that only a change of behaviour changes it."""
    return _digest(_parse(text, where))


@functools.cache
def _imports(path: Path, module: str, modified: int) -> tuple[str, ...]:
    names: list[str] = []
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(_tree(path, modified)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level and not module:
                continue
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


@functools.cache
def _file_digest(path: Path, modified: int) -> str:
    return _digest(_tree(path, modified))


@functools.cache
def _tree(path: Path, modified: int) -> ast.Module:
    return _parse(path.read_text(encoding="utf-8"), str(path))


def _file_of(root: Path, module: str) -> Path | None:
    place = root.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _parse(text: str, where: str) -> ast.Module:
    try:
        with _PARSER:
            return ast.parse(text)
    except SyntaxError as error:
        raise ConfigError(f"is not valid Python: {error.msg}", where=f"{where}:{error.lineno}") from None


def _digest(tree: ast.Module) -> str:
    parts: list[str] = []
    _collect(tree, parts)
    return hashlib.sha256("".join(f"{part}\0" for part in parts).encode()).hexdigest()


def _collect(node: Any, parts: list[str]) -> None:
    """Depth-first text of a tree; empty fields are left out because Python versions disagree about them."""
    if isinstance(node, ast.AST):
        parts.append(type(node).__name__)
        for name in sorted(node._fields):
            value = getattr(node, name, None)
            if name == "body" and isinstance(value, list):
                value = _without_docstring(node, value)
            if value is None or value == [] or name in ("type_comment", "kind"):
                continue
            parts.append(name)
            _collect(value, parts)
        parts.append(")")
    elif isinstance(node, list):
        for item in node:
            _collect(item, parts)
    else:
        parts.append(f"{type(node).__name__}:{node!r}")


def _without_docstring(node: ast.AST, body: list[Any]) -> list[Any]:
    documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    if documented and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        return body[1:] if isinstance(body[0].value.value, str) else body
    return body
