"""Images and labelings counted, and printed in short."""

from decimal import Decimal

import pytest

from repflow.theories.labels import ATOMS, count, first_beyond, short


def test_counts_by_repeated_multiplication():
    for n in range(1, 13):
        images = labelings = 1
        for _ in range(n):
            images *= 2
        for _ in range(images):
            labelings *= 2
        assert (count(n).pixels, count(n).images, count(n).labelings) == (n, images, labelings)


def test_labelings_outnumber_atoms_from_nine_pixels_on():
    assert first_beyond() == 9
    assert count(8).labelings < ATOMS < count(9).labelings
    assert first_beyond(0) == 1
    assert first_beyond(2**8) == 4  # as many is not more


@pytest.mark.parametrize(
    "value", [0, 7, 999_999, 10**6, 9_994_999, 9_995_000, 10**80, 2**512, 2**1024, 10**30 - 1, 5 * 10**29, 2**64]
)
def test_short_form_is_the_rounded_number(value):
    text = short(value)
    if value < 10**6:
        assert text == str(value)
        return
    mantissa, exponent = text.split("e")
    assert len(mantissa) == 4
    assert 1 <= Decimal(mantissa) < 10
    assert abs(Decimal(text) - value) <= Decimal(10) ** (int(exponent) - 2) / 2


def test_short_form_at_every_power_of_two():
    for bits in range(20, 1025):
        assert short(2**bits) == f"{Decimal(2**bits):.2e}".replace("e+", "e").replace("E+", "e"), bits


@pytest.mark.parametrize("pixels", [0, 21, -1])
def test_pixels_out_of_range(pixels):
    with pytest.raises(ValueError, match=f"from 1 to 20, got {pixels}"):
        count(pixels)


def test_what_is_no_number_of_pixels():
    with pytest.raises(TypeError, match="pixels"):
        count(2.5)
    with pytest.raises(ValueError, match="limit"):
        first_beyond(2 ** (2**20))
