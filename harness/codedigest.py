"""A digest of the code that can change a result; comments, docstrings and layout are left out."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.types import ConfigError

FOLLOWED = ("methods.blocks", "harness.data", "harness.cameras", "suites.protocols")
"""Packages whose imported modules belong to a result. Metrics and judges carry their own versions in column names."""

GENERATOR = "harness.data.catalogue"


def code_digest(root: Path, folder: Path | None, protocol: str) -> str:
    """SHA-256 over the method's folder, the followed modules it imports transitively, the data generator and the
    protocol. ``root`` holds the packages; ``folder`` None leaves out the method (reference rows), an empty ``protocol``
    leaves out the evaluation. Stable across Python versions, paths and machines."""
    files = {f"method/{path.name}": path for path in sorted(folder.glob("*.py"))} if folder else {}
    pending = [name for path in files.values() for name in imports(path)]
    pending += [GENERATOR, *([f"suites.protocols.{protocol}"] if protocol else [])]
    seen: set[str] = set()
    while pending:
        module = pending.pop()
        if module in seen or not any(module == p or module.startswith(f"{p}.") for p in FOLLOWED):
            continue
        seen.add(module)
        path = _file_of(root, module)
        if path is not None:
            files[module] = path
            pending += imports(path, module)
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}={_file_digest(files[name], files[name].stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def imports(path: Path, module: str = "") -> tuple[str, ...]:
    """Every module a file may import, as absolute dotted names, imports inside functions included. ``from a import b``
    gives both ``a`` and ``a.b``; relative imports are resolved where ``module`` is the file's own name."""
    return _imports(path, module, path.stat().st_mtime_ns)


def source_digest(text: str, where: str = "<source>") -> str:
    """SHA-256 of a module's syntax tree without docstrings, so that only a change of behaviour changes it."""
    digest = hashlib.sha256()
    for token in _tokens(_parse(text, where)):
        digest.update(token.encode())
        digest.update(b"\0")
    return digest.hexdigest()


@functools.cache
def _imports(path: Path, module: str, modified: int) -> tuple[str, ...]:
    names: list[str] = []
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(_parse(path.read_text(encoding="utf-8"), str(path))):
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
    return source_digest(path.read_text(encoding="utf-8"), str(path))


def _file_of(root: Path, module: str) -> Path | None:
    place = root.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _parse(text: str, where: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise ConfigError(f"is not valid Python: {error.msg}", where=f"{where}:{error.lineno}") from None


def _tokens(node: Any) -> Iterator[str]:
    """Depth-first text of a tree; empty fields are left out because Python versions disagree about them."""
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in sorted(ast.iter_fields(node)):
            if name == "body" and isinstance(value, list):
                value = _without_docstring(node, value)
            if value is None or value == [] or name in ("type_comment", "kind"):
                continue
            yield name
            yield from _tokens(value)
        yield ")"
    elif isinstance(node, list):
        for item in node:
            yield from _tokens(item)
    else:
        yield f"{type(node).__name__}:{node!r}"


def _without_docstring(node: ast.AST, body: list[Any]) -> list[Any]:
    documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    if documented and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        return body[1:] if isinstance(body[0].value.value, str) else body
    return body
