"""The fields of anomaly data: what a defective image should have looked like and where it departs from it."""

from __future__ import annotations

from harness.data.fields import FIELDS, Field

for _field in (
    Field("twin", ("H", "W", 3), "uint8", "the image without its defect, same noise", "area", "mirror"),
    Field("mask", ("H", "W"), "uint8", "1 = defective pixel", "nearest", "mirror"),
    Field("foreground", ("H", "W"), "uint8", "1 = the object, or all of a texture", "nearest", "mirror"),
    Field("defect", (), "int32", "kind of defect, 0 = good; names in the split's index"),
):
    FIELDS[_field.name] = _field
