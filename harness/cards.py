"""Cards, presets and suites: plain YAML files, read safely and checked before anything is imported."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from harness.types import ConfigError

TIERS = ("smoke", "micro", "small", "paper")
PRECISIONS = ("auto", "fp32", "bf16")
CAPABILITIES = ("generates", "radiance_field", "scores_anomalies", "segments")
RESERVED = frozenset(
    [
        *("suite", "methods", "references", "seeds", "tier", "budget", "device", "precision", "executor", "workers"),
        *("threads", "rerun", "checkpoint_seconds", "store", "cache", "out", "data", "root", "settings"),
        *("floor", "oracle", "setting", "part"),
    ]
)
"""Words of the command line: no method may take one as its name."""

_CARD_REQUIRED = ("name", "title", "entry", "capabilities", "data")
_CARD_FIELDS = (
    *_CARD_REQUIRED,
    "paper",
    "controls_pose",
    "has_depth",
    "needs",
    "switches",
    "reported",
    "oracle",
    "base",
    "clashes",
)
_PAPER_FIELDS = ("title", "authors", "venue", "year", "arxiv", "doi", "url")
_SUITE_REQUIRED = ("name", "title", "protocol", "data", "methods", "budget")
_SUITE_FIELDS = (*_SUITE_REQUIRED, "references", "seeds", "tier", "precision", "settings", "variants", "parts")
_VARIANT_FIELDS = ("methods", "references")
_PART_FIELDS = ("methods", "references", "data", "protocol", "budget", "settings")
MAIN = "main"
"""What the words of a command line call the part of a suite that its own fields describe."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ENTRY = re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*")
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")
_CODE_KEYS = frozenset(("class", "cls", "callable", "function", "module", "import", "object"))
COST_KEY = "seconds_per_kimg"

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Clash:
    """``values`` maps keys of presets to the values that, taken together, cannot work; ``because`` says why."""

    values: Mapping[str, tuple[Scalar, ...]]
    because: str

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Whether ``config`` has one of the values in every key."""
        return all(config.get(key) in values for key, values in self.values.items())


@dataclass(frozen=True)
class Card:
    """What a method says about itself without being imported; ``entry`` is ``module:attribute`` inside its folder.

    ``switches`` maps each ablation switch (a key of the presets) to its allowed values, empty when any will do. An
    ``oracle`` trains on what the setting hides: it bounds the others and holds no rank.

    ``clashes`` are values of presets' keys that cannot work together, each with the reason.

    A method that plugs into others names the capability of what it plugs into as ``base``; the key ``base`` of its
    presets then names one such method, whose preset lies under its own.
    """

    name: str
    title: str
    entry: str
    capabilities: tuple[str, ...]
    fields: tuple[str, ...]
    prior: str = "optional"
    paper: Mapping[str, Any] = field(default_factory=dict)
    controls_pose: bool = False
    has_depth: bool = False
    needs: Mapping[str, str] = field(default_factory=dict)
    switches: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    reported: str | None = None
    oracle: bool = False
    base: str = ""
    clashes: tuple[Clash, ...] = ()


@dataclass(frozen=True)
class Suite:
    """One comparison as data: which methods on which samples, under which budget (images), scored by which protocol.

    ``precision`` is that of all its arms unless a run says otherwise. Where one question is asked in several settings,
    ``variants`` maps each to what it changes (``methods``, ``references``), the first being the default; ``setting``
    names the chosen one. It becomes the data's option ``setting`` and chooses the presets' overlays.

    ``parts`` are further comparisons that a run of the suite does too: each maps to the fields in which it differs;
    ``part`` says which one this is.
    """

    name: str
    title: str
    protocol: str
    data: Mapping[str, Any]
    methods: tuple[str, ...]
    budget: Mapping[str, Mapping[str, int]]
    references: tuple[str, ...] = ()
    seeds: int = 1
    tier: str = "micro"
    precision: str = "auto"
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    path: Path = Path()
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    setting: str = ""
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    part: str = MAIN

    def in_part(self, name: str) -> Suite:
        """This suite in one of its parts, ``main`` being itself. Raises ConfigError with the nearest names."""
        if name != MAIN and name not in self.parts:
            raise unknown("part", name, (MAIN, *self.parts), str(self.path))
        return replace(self, part=name, **self.parts.get(name, {}))

    def in_setting(self, name: str) -> Suite:
        """This suite in one of its settings. Raises ConfigError with the nearest names."""
        if name not in self.variants:
            raise unknown("setting", name, self.variants, str(self.path))
        options = {**(self.data.get("options") or {}), "setting": name}
        changes: dict[str, Any] = {key: tuple(value) for key, value in self.variants[name].items()}
        return replace(self, data={**self.data, "options": options}, setting=name, **changes)


# ------------------------------------------------------------------------------------------------ YAML and names
class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Safe YAML in which 1e-4 is a number and a repeated key is an error (YAML 1.1 says otherwise)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not text; quote it", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} appears twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping of a YAML file. Raises ConfigError for a missing, unreadable, non-mapping or code-naming file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from None
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        code = "could not determine a constructor" in problem
        remedy = "Configuration is data: it may not name code." if code else ""
        raise ConfigError(problem, where=where, remedy=remedy) from None
    if not isinstance(value, dict):
        raise ConfigError(f"must hold a mapping of keys to values, not {type(value).__name__}", where=str(path))
    return value


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The valid names closest to ``word``, best first; empty when none is close."""
    return difflib.get_close_matches(word, sorted(set(known)), n=count, cutoff=0.55)


def unknown(kind: str, word: str, known: Iterable[str], where: str = "") -> ConfigError:
    """ConfigError for a name that does not exist, with the nearest names or else all of them."""
    names = sorted(set(known))
    close = nearest(word, names)
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    remedy = "" if close else f"Known: {listed}." if names else "There are none."
    return ConfigError(f"unknown {kind} {word!r}", where=where, nearest=close, remedy=remedy)


def refuse_code(key: str, value: Any, where: str) -> None:
    """Raise ConfigError where a key or value of a configuration names code to import, call or interpolate."""
    last = key.rsplit(".", 1)[-1].lower()
    named = (last.startswith("_") and last.endswith("_") and len(last) > 2) or last in _CODE_KEYS
    for item in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(item, str):
            named = named or "!!python" in item or "${" in item or bool(_IMPORT_PATH.fullmatch(item))
    if named:
        raise ConfigError(
            f"{key}={value!r} names code or an interpolation, which a configuration may not do",
            where=where,
            remedy="Write plain numbers, words and lists; code belongs in a method folder.",
        )


# ------------------------------------------------------------------------------------------------------ the cards
def read_card(folder: Path) -> Card:
    """The checked card of a method folder. Raises ConfigError naming the file and the field."""
    path = folder / "card.yaml"
    if not path.is_file():
        raise ConfigError(
            "no card.yaml in this folder", where=str(folder), remedy="A method is a folder with card.yaml and a class."
        )
    raw, where = read_yaml(path), str(path)
    _check_fields(raw, _CARD_REQUIRED, _CARD_FIELDS, where)
    name, entry = _text(raw, "name", where), _text(raw, "entry", where)
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise ConfigError(
            f"name: {name!r} cannot be a method's name",
            where=where,
            remedy="Use lower case, digits and _, and none of the words of the command line.",
        )
    if not _ENTRY.fullmatch(entry):
        raise ConfigError(
            f"entry: {entry!r} must be module:attribute of a file inside the folder",
            where=where,
            remedy="For example method:HoloGAN for the class HoloGAN in method.py.",
        )
    module = folder / f"{entry.partition(':')[0]}.py"
    if not module.is_file() or module.resolve().parent != folder.resolve():
        raise ConfigError(
            f"entry: there is no {module.name} inside the folder",
            where=where,
            nearest=nearest(module.stem, (p.stem for p in folder.glob("*.py"))),
        )
    data = _mapping(raw, "data", where)
    _check_fields(data, ("fields",), ("fields", "prior"), f"{where}: data")
    capabilities = _texts(raw, "capabilities", where)
    for capability in capabilities:
        if not _NAME.fullmatch(capability):
            raise unknown("capability", capability, CAPABILITIES, f"{where}: capabilities")
    prior = data.get("prior", "optional")
    if prior not in ("required", "optional"):
        raise ConfigError(f"data.prior: {prior!r} must be required or optional", where=where)
    paper = _mapping(raw, "paper", where)
    _check_fields(paper, (), _PAPER_FIELDS, f"{where}: paper")
    reported = raw.get("reported")
    return Card(
        name=name,
        title=_text(raw, "title", where),
        entry=entry,
        capabilities=capabilities,
        fields=_texts(data, "fields", f"{where}: data"),
        prior=prior,
        paper=paper,
        controls_pose=_flag(raw, "controls_pose", where),
        has_depth=_flag(raw, "has_depth", where),
        needs={role: str(other) for role, other in _mapping(raw, "needs", where).items()},
        switches=_switches(raw.get("switches", ()), where),
        reported=None if reported is None else str(reported),
        oracle=_flag(raw, "oracle", where),
        base=_base(raw, where),
        clashes=_clashes(raw, where),
    )


def _clashes(raw: Mapping[str, Any], where: str) -> tuple[Clash, ...]:
    """Lines ``{key: value or values, ..., because: reason}``."""
    lines, made = raw.get("clashes", []), []
    for line in lines if isinstance(lines, list) else [lines]:
        values = {key: value for key, value in line.items() if key != "because"} if isinstance(line, dict) else {}
        if not values or not isinstance(line.get("because"), str):
            raise ConfigError("clashes: each needs keys with values, and because: the reason", where=where)
        listed = {key: tuple(value) if isinstance(value, list) else (value,) for key, value in values.items()}
        made.append(Clash(listed, line["because"]))
    return tuple(made)


def _base(raw: Mapping[str, Any], where: str) -> str:
    """The capability of the methods that this one plugs into; empty for a method of its own."""
    base = raw.get("base", "")
    if base and base not in CAPABILITIES:
        raise unknown("capability", str(base), CAPABILITIES, f"{where}: base")
    return str(base)


def read_preset(
    folder: Path, tier: str, setting: str = "", *, plugs: bool = False
) -> tuple[dict[str, Any], float | None]:
    """The preset of a tier (flat: scalars and lists of scalars) and the declared seconds per 1000 images, if any.

    A file ``<tier>.<setting>.yaml`` holds the keys that differ in that setting of a suite. A method that ``plugs`` into
    others names one as ``base`` and leaves the batch size to it.
    """
    path = folder / f"{tier}.yaml"
    if not path.is_file():
        there = [t for t in TIERS if (folder / f"{t}.yaml").is_file()]
        raise ConfigError(
            f"no preset for tier {tier!r}",
            where=str(folder),
            nearest=[f"tier={t}" for t in there],
            remedy=f"Write {path.name} or choose another tier.",
        )
    preset = _flat(path)
    overlay = folder / f"{tier}.{setting}.yaml"
    if setting and overlay.is_file():
        changes = _flat(overlay)
        for key in changes:
            if key not in (*preset, COST_KEY):
                raise unknown(f"key of {path.name}", key, preset, str(overlay))
        preset |= changes
    cost = preset.pop(COST_KEY, None)
    if plugs:
        if not isinstance(preset.get("base"), str) or "batch_size" in preset:
            raise ConfigError("needs a method's name as base, whose batch_size is the one", where=str(path))
        return preset, None if cost is None else float(cost)
    batch = preset.get("batch_size")
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise ConfigError("batch_size: every preset needs a positive whole number", where=str(path))
    return preset, None if cost is None else float(cost)


def _flat(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    for key, value in values.items():
        refuse_code(key, value, str(path))
        flat = all(_is_scalar(v) for v in value) if isinstance(value, list) else _is_scalar(value)
        if not flat or not key.isidentifier():
            raise ConfigError(f"{key}: a preset is flat: words, numbers, booleans, or lists of them", where=str(path))
    return values


def read_suite(path: Path) -> Suite:
    """A checked suite. Raises ConfigError naming the file and the field."""
    raw, where = read_yaml(path), str(path)
    _check_fields(raw, _SUITE_REQUIRED, _SUITE_FIELDS, where)
    data = _mapping(raw, "data", where)
    _check_fields(data, ("name",), ("name", "options"), f"{where}: data")
    budget = _budget(raw, where)
    tier = raw.get("tier", "micro")
    if tier not in TIERS:
        raise unknown("tier", str(tier), TIERS, f"{where}: tier")
    precision = raw.get("precision", "auto")
    if precision not in PRECISIONS:
        raise unknown("precision", str(precision), PRECISIONS, f"{where}: precision")
    seeds = raw.get("seeds", 1)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise ConfigError(f"seeds: {seeds!r} must be a positive whole number", where=where)
    settings = _settings(raw, where)
    variants = {name: _mapping(_mapping(raw, "variants", where), name, where) for name in raw.get("variants") or {}}
    for name, changes in variants.items():
        _check_fields(changes, (), _VARIANT_FIELDS, f"{where}: variants.{name}")
        variants[name] = {key: _texts(changes, key, f"{where}: variants.{name}") for key in changes}
    parts = {
        name: _part(_mapping(_mapping(raw, "parts", where), name, where), name, where)
        for name in raw.get("parts") or {}
    }
    return Suite(
        name=_text(raw, "name", where),
        title=_text(raw, "title", where),
        protocol=_text(raw, "protocol", where),
        data=data,
        methods=_texts(raw, "methods", where),
        budget=budget,
        references=_texts(raw, "references", where) if "references" in raw else (),
        seeds=seeds,
        tier=tier,
        precision=precision,
        settings=settings,
        path=path,
        variants=variants,
        parts=parts,
    )


def _part(raw: Mapping[str, Any], name: str, suite: str) -> dict[str, Any]:
    """The fields in which a part of a suite differs, checked as the suite's own."""
    where = f"{suite}: parts.{name}"
    if name == MAIN or not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be the name of a part", where=where, remedy="Use lower case, digits and _.")
    _check_fields(raw, ("methods",), _PART_FIELDS, where)
    found: dict[str, Any] = {key: _texts(raw, key, where) for key in ("methods", "references") if key in raw}
    if "protocol" in raw:
        found["protocol"] = _text(raw, "protocol", where)
    if "data" in raw:
        found["data"] = _mapping(raw, "data", where)
        _check_fields(found["data"], ("name",), ("name", "options"), f"{where}: data")
    if "budget" in raw:
        found["budget"] = _budget(raw, where)
    if "settings" in raw:
        found["settings"] = _settings(raw, where)
    return found


def _budget(raw: Mapping[str, Any], where: str) -> dict[str, dict[str, int]]:
    budget = {tier: _mapping(_mapping(raw, "budget", where), tier, where) for tier in _mapping(raw, "budget", where)}
    for tier, amounts in budget.items():
        if tier not in TIERS:
            raise unknown("tier", tier, TIERS, f"{where}: budget")
        for name, images in amounts.items():
            if not isinstance(images, int) or isinstance(images, bool) or images < 1:
                raise ConfigError(f"budget.{tier}.{name}: {images!r} must be a positive number of images", where=where)
    return budget


def _settings(raw: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    settings = _mapping(raw, "settings", where)
    for key in settings:
        if key not in TIERS:
            raise unknown("tier", key, TIERS, f"{where}: settings")
    return {key: _mapping(settings, key, f"{where}: settings") for key in settings}


def _check_fields(raw: Mapping[str, Any], required: Sequence[str], allowed: Sequence[str], where: str) -> None:
    for key in raw:
        if key not in allowed:
            raise unknown("field", key, allowed, where)
    for key in required:
        if raw.get(key) is None:
            close = [k for k in raw if nearest(k, [key])]
            raise ConfigError(
                f"the field {key!r} is missing",
                where=where,
                nearest=close,
                remedy=f"Add a line '{key}: ...'. Required fields: {', '.join(required)}.",
            )


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def _text(raw: Mapping[str, Any], key: str, where: str) -> str:
    value = raw[key]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key}: {value!r} must be text", where=where)
    return value


def _flag(raw: Mapping[str, Any], key: str, where: str) -> bool:
    value = raw.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{key}: {value!r} must be true or false", where=where)
    return value


def _texts(raw: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = raw[key]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{key}: {value!r} must be a list of names", where=where)
    return tuple(value)


def _mapping(raw: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = raw.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: {value!r} must be a mapping", where=where)
    return value


def _switches(raw: Any, where: str) -> dict[str, tuple[Scalar, ...]]:
    if isinstance(raw, dict):
        return {key: tuple(values) if isinstance(values, list) else () for key, values in raw.items()}
    if isinstance(raw, (list, tuple)) and all(isinstance(item, str) for item in raw):
        return dict.fromkeys(raw, ())
    raise ConfigError("switches: must be a list of preset keys, or a mapping of keys to allowed values", where=where)
