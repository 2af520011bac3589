"""The field that only streets have: which thing a pixel shows."""

from __future__ import annotations

from harness.data.fields import FIELDS, Field

FIELDS["instance"] = Field(
    "instance", ("H", "W"), "uint8", "number of the person or car, 0 = none", "nearest", "mirror"
)
