"""Who may import whom (architecture.md section 7), read from the syntax trees."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("harness", "methods", "suites")
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for top in OURS
    for path in sorted((ROOT / top).rglob("*.py"))
}
LIGHT = (
    *(
        "harness.cards",
        "harness.suite_files",
        "harness.config",
        "harness.overrides",
        "harness.store_files",
        "harness.values",
        "harness.registry",
        "harness.codedigest",
        "harness.cli",
    ),
    *("harness.console", "harness.store", "harness.running.plan", "harness.running.settings", "harness.priors"),
    "harness.data.catalogue",
)
"""Modules that must answer without torch; everything under harness.tables and harness.types too."""


def imported(path: Path, *, at_import: bool = False) -> set[str]:
    """Absolute names a file imports, annotations' imports left out; only those of the module's top level, if asked."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        if typing_only or (at_import and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            skipped.update(ast.walk(node))
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def under(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def ours(path: Path) -> set[str]:
    return {name for name in imported(path) if under(name, *OURS)}


def select(*places: str) -> list[str]:
    return [name for name in FILES if under(name, *places)]


@pytest.mark.parametrize("module", [m for m in FILES if under(m, "harness.tables", "harness.types") or m in LIGHT])
def test_light_modules_never_name_torch(module: str) -> None:
    heavy = [n for n in imported(FILES[module]) if under(n, "torch", "torchvision", "open3d", "harness.cameras")]
    assert not heavy, f"{module} imports {heavy}"


def test_types_import_nothing_of_ours() -> None:
    for module in select("harness.types"):
        assert all(under(name, "harness.types") for name in ours(FILES[module])), module


GEOMETRY = ("harness.types", "harness.cameras", "harness.priors")
FILES_AND_DIGESTS = ("harness.atomic", "harness.leases", "harness.codedigest")
NEIGHBOURS: dict[str, tuple[str, ...]] = {
    "harness.metrics": GEOMETRY,
    "harness.data": (*GEOMETRY, *FILES_AND_DIGESTS, "harness.metrics.errors"),
    "harness.judges": (*GEOMETRY, *FILES_AND_DIGESTS, "harness.data", "harness.metrics"),
    "harness.backbones": (
        *("harness.types", "harness.atomic", "harness.leases", "harness.codedigest"),
        *("harness.metrics.weights", "harness.metrics.products"),
    ),
    "methods": (*GEOMETRY, "harness.metrics", "harness.backbones"),
    "suites": (*GEOMETRY, "harness.metrics", "harness.data", "harness.judges"),
}


@pytest.mark.parametrize(("place", "allowed"), NEIGHBOURS.items())
def test_each_room_knows_only_its_neighbours(place: str, allowed: tuple[str, ...]) -> None:
    for module in select(place):
        strangers = [n for n in ours(FILES[module]) if not under(n, place, *allowed) and n != "harness"]
        assert not strangers, f"{module} imports {strangers}"


def test_a_method_never_imports_another() -> None:
    for module in select("methods"):
        own = ".".join(module.split(".")[:2])
        others = [n for n in ours(FILES[module]) if under(n, "methods") and not under(n, own, "methods.blocks")]
        assert not [n for n in others if n != "methods"], f"{module} imports {others}"


def test_only_the_registry_imports_methods_and_protocols() -> None:
    for module in select("harness"):
        assert not [n for n in ours(FILES[module]) if under(n, "methods", "suites")], module


def test_open3d_stands_in_one_module_a_room_and_is_lazy() -> None:
    users = [module for module, path in FILES.items() if any(under(n, "open3d") for n in imported(path))]
    assert users == ["harness.data.raycast", "harness.metrics.mesh_distances"]
    assert not any(under(n, "open3d") for module in users for n in imported(FILES[module], at_import=True))


def test_no_pickle_eval_or_drawers() -> None:
    for module, path in FILES.items():
        assert not [n for n in imported(path) if under(n, "pickle", "dill", "cloudpickle", "joblib")], module
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"eval", "exec", "__import__"}, module
        assert module.rsplit(".", 1)[-1] not in ("utils", "common", "base", "helpers", "misc"), module


def test_a_plan_loads_neither_torch_nor_pandas() -> None:
    code = (
        "import json, sys\n"
        "from harness import config, registry\n"
        "from harness.running import plan\n"
        "name = next(iter(registry.methods()))\n"
        "made = plan.build(config.parse(['suite=3d_aware', f'methods=[{name}]']))\n"
        "print(json.dumps([len(made.cells), sorted({'torch', 'pandas', 'open3d'} & set(sys.modules))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    count, heavy = json.loads(done.stdout)
    assert count > 0
    assert heavy == []
