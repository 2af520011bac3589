"""One self-contained page from a Jinja2 template: escaped, with style and script inside it and nothing from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.tables.text import clean, count

FOLDER = Path(__file__).parent / "page"


def render(context: Mapping[str, Any]) -> str:
    """The page of a context: equal contexts give equal text.

    Its content security policy admits the page's own style and script by their hashes, pictures inside it, and nothing
    else; what is filled in is escaped where it stands and loses its control characters.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters["count"] = count
    style, script = (Markup((FOLDER / name).read_text(encoding="utf-8")) for name in ("style.css", "page.js"))
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    template = environment.get_template("page.html.j2")
    return template.render(**context, style=style, script=script, policy=policy)


def _hash(content: str) -> str:
    """The source expression that admits an inline element with this content."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
