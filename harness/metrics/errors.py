"""Errors of the metrics: every one is a ``MetricError``, which is both a ``HarnessError`` and a ``ValueError``."""

from __future__ import annotations

from harness.types import HarnessError


class MetricError(HarnessError, ValueError):
    """A metric cannot be computed from what it was given; ``where`` names the metric."""


class EmptyInput(MetricError):
    """No samples, or no valid pixel in the whole set."""


class ShapeMismatch(MetricError):
    """Shapes, dtypes, channel or class counts that do not fit together."""


class NonFinite(MetricError):
    """NaN or infinity where a number is needed: never dropped, never replaced."""


class CountMismatch(MetricError):
    """Two sets of different size where the protocol asks for equal ones."""


class TooFew(MetricError):
    """Fewer samples than the definition needs."""


class TooSmall(MetricError):
    """Images smaller than the window of the metric."""


class NonPositiveDepth(MetricError):
    """A depth of zero or less inside the mask."""


class OutOfRange(MetricError):
    """A value outside the range that the argument states."""


class NotCovariance(MetricError):
    """A matrix that should be a covariance has a clearly negative eigenvalue."""


class SingularCovariance(MetricError):
    """A covariance without full rank where its inverse is needed."""


class ProtocolMismatch(MetricError):
    """Accumulators, feature spaces or columns of different protocols cannot be merged or compared."""


class UnknownOption(MetricError):
    """A named option that does not exist."""
