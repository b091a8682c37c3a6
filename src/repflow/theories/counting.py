"""How many numbers a theory takes: spins, and weights of a layer.

Everything is counted by one rule. There are N degrees of freedom, a coupling for each interaction, and assumptions that
remove couplings (k-local, local) or make some of them equal (translation invariance). The degrees of freedom of a
layer are its sites. Output distributions of networks are counted by :func:`repflow.distribution.couplings_count`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from repflow.theories.families import Generic, KLocal, Local, TranslationInvariant
from repflow.theories.family import Family
from repflow.theories.spins import check_size

Wiring = Literal["fully connected", "locally connected", "convolutional"]
#: From most to fewest weights.
WIRINGS: tuple[Wiring, ...] = ("fully connected", "locally connected", "convolutional")


def layer_count(
    wiring: Wiring, sites_in: int, channels_in: int, sites_out: int, channels_out: int, field: int, biases: bool = True
) -> int:
    """Parameters of a layer between two lattices: W_oi for output unit o and input unit i, and the biases.

    A unit is a site and a channel. Fully connected, each pair of units has its own weight. Locally connected, only
    pairs whose sites are within a receptive field have one. Convolutional, pairs at the same displacement share it:
    translation invariance, under which the number does not grow with the lattice.

    Parameters
    ----------
    wiring
        One of :data:`WIRINGS`.
    sites_in, channels_in, sites_out, channels_out
        Of the two lattices.
    field
        Sites in a receptive field, at most ``sites_in``.
    biases
        Count one a unit (one a channel where they are shared).

    Raises
    ------
    TypeError, ValueError
        A number is not a whole number of 1 or more, the field is larger than the lattice, or the wiring is unknown.
    """
    if wiring not in WIRINGS:
        raise ValueError(f"wiring must be one of {', '.join(WIRINGS)}, got {wiring!r}")
    sites_in, channels_in = _whole("sites_in", sites_in, 1), _whole("channels_in", channels_in, 1)
    sites_out, channels_out = _whole("sites_out", sites_out, 1), _whole("channels_out", channels_out, 1)
    field = _whole("field", field, 1)
    if field > sites_in:
        raise ValueError(f"field must be at most sites_in = {sites_in}, got {field}")
    seen = sites_in if wiring == "fully connected" else field
    places = 1 if wiring == "convolutional" else sites_out
    return places * channels_out * (seen * channels_in + int(biases))


@dataclass(frozen=True)
class Curve:
    """A number of couplings against a number of degrees of freedom.

    Attributes
    ----------
    name
        What is counted.
    kind
        ``"spins"``, ``"outputs"`` or ``"weights"``.
    size
        Numbers of degrees of freedom: spins, inputs, or pixels.
    count
        The exact number of couplings at each.
    scaling
        Its growth, as text.
    """

    name: str
    kind: Literal["spins", "outputs", "weights"]
    size: tuple[int, ...]
    count: tuple[int, ...]
    scaling: str


def spin_curves(sizes: Sequence[int], locality: Sequence[int] = (2, 4)) -> list[Curve]:
    """Generic, k-local, and on a square periodic lattice local and translation-invariant theories of N spins.

    Parameters
    ----------
    sizes
        Numbers of spins, each 2 or more; the lattices take the squares among them.
    locality
        The values of k; sizes below k are left out of its curve.

    Raises
    ------
    TypeError, ValueError
        A size is not a whole number of 2 or more.
    """
    spins = [check_size(N, 2) for N in sizes]
    squares = [N for N in spins if math.isqrt(N) ** 2 == N]
    shape = {N: (math.isqrt(N),) * 2 for N in squares}
    found: list[tuple[str, list[Family]]] = [("generic", [Generic(N, fields=True) for N in spins])]
    found += [(f"{k}-local", [KLocal(N, k) for N in spins if k <= N]) for k in locality]
    found.append(("local, square lattice", [Local(shape[N]) for N in squares]))
    found.append(("translation invariant", [TranslationInvariant(shape[N]) for N in squares]))
    return [
        Curve(
            name, "spins", tuple(each.N for each in lot), tuple(each.count for each in lot), lot[-1].scaling
        )
        for name, lot in found
        if lot
    ]  # fmt: skip


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, got {value}")
    return int(value)
