"""Powers, exponentials and logarithms out of IEEE 754 basic operations: the same bits on every machine.

The C library's `pow`, `exp` and `log` differ in the last bit from one machine to another; a journal that is replayed
elsewhere must not. Used by `shares`, `rates` and `bounds`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST_EXPONENT = 500
"""A power is cut off at 2 ** +-500, so that it neither overflows nor vanishes before it is multiplied."""
_SMALL = 16
"""Up to here a power of what the bets use is far from the ends of a float: no scaling is needed, nor changes a bit."""
_SQUARINGS = 8


def power(base: Any, exponent: Any) -> tuple[Floats, Ints]:
    """Return base ** exponent as (m, e), its value being m * 2 ** e; 1e-9 < base < 1e9, exponent a whole number >= 0."""
    left = np.asarray(exponent, dtype=np.int64)
    factor = np.asarray(base, dtype=np.float64)
    most = int(left.max(initial=0))
    if most <= _SMALL:
        mantissa = np.ones(np.broadcast_shapes(factor.shape, left.shape))
        for bit in range(most.bit_length()):
            mantissa = np.where((left >> bit) & 1, mantissa * factor, mantissa)
            factor = factor * factor
        return mantissa, np.zeros((), dtype=np.int64)
    factor, scale = np.frexp(factor)
    mantissa = np.ones(np.broadcast_shapes(factor.shape, left.shape))
    total, scale = np.zeros(mantissa.shape, dtype=np.int64), scale.astype(np.int64)
    for bit in range(most.bit_length()):
        odd = (left >> bit) & 1 == 1
        mantissa, shift = np.frexp(np.where(odd, mantissa * factor, mantissa))
        total = np.where(odd, total + scale, total) + shift
        factor, shift = np.frexp(factor * factor)
        scale = 2 * scale + shift
    return mantissa, total


def scaled(mantissa: Floats, exponent: Ints) -> Floats:
    """Return m * 2 ** e, cut off beyond LARGEST_EXPONENT."""
    if not exponent.any():
        return mantissa
    value: Floats = np.ldexp(mantissa, np.clip(exponent, -LARGEST_EXPONENT, LARGEST_EXPONENT).astype(np.int32))
    return value


def exp_below(x: Any) -> Floats:
    """Return at most exp(x), and nearly that for small x: (1 + x / 256) ** 256, and 0 from -256 down."""
    value: Floats = np.clip(1.0 + np.minimum(x, 256.0) / 256.0, 0.0, None)
    for _ in range(_SQUARINGS):
        value = value * value
    return value


def log(x: float) -> float:
    """Return the natural logarithm of x > 0: frexp, and the series of artanh."""
    mantissa, exponent = np.frexp(x)
    if mantissa < 0.7071067811865476:
        mantissa, exponent = 2.0 * mantissa, exponent - 1
    z = (float(mantissa) - 1.0) / (float(mantissa) + 1.0)
    square, term, total = z * z, z, 0.0
    for odd in range(1, 27, 2):
        total += term / odd
        term *= square
    return 2.0 * total + int(exponent) * 0.6931471805599453


def log_gamma(x: float) -> float:
    """Return log(gamma(x)) for x > 0: raised to at least 16, then Stirling's series."""
    below = 0.0
    while x < 16.0:
        below += log(x)
        x += 1.0
    inverse = 1.0 / x
    square = inverse * inverse
    series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)))
    return (x - 0.5) * log(x) - x + 0.9189385332046727 + series - below
