"""One clear error for every way in which an image file can fail to open."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from harness.types import DataError


@contextmanager
def decoding(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn what Pillow raises while ``path`` is read as ``what`` into DataError; ``remedy`` says which form is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except UnidentifiedImageError as error:
        raise DataError(f"is not {what} that can be read", where=str(path), remedy=remedy) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError("is too large to be decoded safely", where=str(path), remedy="Shrink it first.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(
            f"cannot be decoded ({error})", where=str(path), remedy="The file is truncated or damaged: copy it again."
        ) from error
