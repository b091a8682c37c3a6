"""How many labelings there are: 2^n images of n pixels, 2^(2^n) ways to label them with two labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Atoms of the observable universe, to an order of magnitude.
ATOMS = 10**80
#: 2^(2^n) is held as a whole number: 2^n bits.
LARGEST = 20


@dataclass(frozen=True)
class Count:
    """Numbers of images and of labelings, as whole numbers.

    Attributes
    ----------
    pixels
        n.
    images
        2^n.
    labelings
        2^(2^n).
    """

    pixels: int
    images: int
    labelings: int

    def __str__(self) -> str:
        return f"{self.pixels:>3} {short(self.images):>9} {short(self.labelings):>18}"


def count(pixels: int) -> Count:
    """Images and labelings of so many binary pixels.

    Raises
    ------
    TypeError, ValueError
        The number of pixels is not a whole number from 1 to 20.
    """
    if isinstance(pixels, bool) or not isinstance(pixels, int):
        raise TypeError(f"pixels must be a whole number, got {pixels!r}")
    if not 1 <= pixels <= LARGEST:
        raise ValueError(
            f"pixels must be from 1 to {LARGEST}, got {pixels}: 2^(2^n) is held as a whole number of 2^n bits"
        )
    return Count(pixels, 2**pixels, 2 ** (2**pixels))


def first_beyond(limit: int = ATOMS) -> int:
    """The smallest number of pixels whose labelings outnumber ``limit``, by comparing whole numbers.

    Raises
    ------
    ValueError
        The limit is above the labelings of 20 pixels.
    """
    for pixels in range(1, LARGEST + 1):
        if count(pixels).labelings > limit:
            return pixels
    raise ValueError(f"limit must be below the labelings of {LARGEST} pixels, 2^(2^{LARGEST})")


def short(value: int) -> str:
    """A whole number of 0 or more, exact up to six digits, else rounded to three: ``1.34e154``."""
    if value < 10**6:
        return str(value)
    exponent = int((value.bit_length() - 1) * math.log10(2))  # this or one more
    if 10 ** (exponent + 1) <= value:
        exponent += 1
    leading = (value + 10 ** (exponent - 2) // 2) // 10 ** (exponent - 2)
    if leading == 1000:
        leading, exponent = 100, exponent + 1
    return f"{leading / 100:.2f}e{exponent}"
