"""Numbers and words as tables print them: fixed formats, escaped for the place where they stand."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def number(value: float) -> str:
    """Ten significant digits, the same on every platform; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.10g}"


def fixed(value: float, digits: int) -> str:
    """``digits`` after the point, without a negative zero; ``n/a`` for NaN."""
    if math.isnan(value):
        return "n/a"
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def count(value: int) -> str:
    """A whole number with thin groups of three, e.g. ``24 000``."""
    return f"{value:,}".replace(",", " ")


def clean(text: str) -> str:
    """Text without what no page may hold: control characters and halves of surrogate pairs become U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def cell(text: str) -> str:
    """Text inside a Markdown table: pipes, angle brackets, emphasis and line breaks lose their meaning."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in ("\\", "|", "*", "_", "`", "[", "]"):
        escaped = escaped.replace(mark, f"\\{mark}")
    return " ".join(escaped.split())


def code(text: str) -> str:
    """Text as inline code inside a Markdown table; only the pipe needs an escape there."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`".replace("|", "\\|")


def file_name(*parts: str) -> str:
    """Parts joined by ``-``, with every other character than letters, digits, ``._=`` turned into ``_``."""
    return "-".join(re.sub(r"[^A-Za-z0-9._=]+", "_", part).strip("_") for part in parts if part)


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are left-aligned, the others right-aligned. Cells come escaped."""
    rows = [header, [*[":---"] * left, *["---:"] * (len(header) - left)], *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def csv_bytes(header: Sequence[str], lines: Sequence[Sequence[str]]) -> bytes:
    """CSV as UTF-8 with Unix line ends on every platform; fields are quoted where needed.

    A field that a spreadsheet would run as a formula (it begins with =, +, - or @ and is no number) gets a leading
    apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_inert(field) for field in line] for line in lines)
    return buffer.getvalue().encode()


def _inert(field: str) -> str:
    field = " ".join(field.split())
    if not field.startswith(("=", "+", "-", "@")):
        return field
    try:
        float(field)
    except ValueError:
        return f"'{field}"
    return field
