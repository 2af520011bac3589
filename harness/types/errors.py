"""Errors with an address; every one that a user may meet is one of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class HarnessError(Exception):
    """An error with an address: what is wrong, where, the nearest valid thing and the remedy."""

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", nearest: Sequence[str] = (), remedy: str = "") -> None:
        self.what, self.where, self.nearest, self.remedy = what, where, tuple(nearest), remedy
        super().__init__(self.__str__())

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.nearest:
            text += f". Did you mean {' or '.join(self.nearest)}?"
        if self.remedy:
            text += f"{'' if text.endswith(('.', '?')) else '.'} {self.remedy}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross process boundaries whole: the default would lose the keyword arguments."""
        return _rebuild_error, (type(self), self.what, self.where, self.nearest, self.remedy)


def _rebuild_error(
    kind: type[HarnessError], what: str, where: str, nearest: Sequence[str], remedy: str
) -> HarnessError:
    return kind(what, where=where, nearest=nearest, remedy=remedy)


class ConfigError(HarnessError):
    """A command line, suite, preset or card that cannot be used."""


class DataError(HarnessError):
    """An image, array, folder or shard that cannot be used."""


class StoreError(HarnessError):
    """A stored result or checkpoint that cannot be used."""


class MissingAsset(HarnessError):
    """A weights file or optional package is not on this machine; a runner turns this into a skip with a reason."""


class Unsupported(HarnessError):
    """A method lacks what a protocol asks for; a runner turns this into a skip with a reason."""


class NonFiniteError(HarnessError):
    """Training produced NaN or infinity; the cell fails and leaves a failure bundle."""

    exit_code = 3
