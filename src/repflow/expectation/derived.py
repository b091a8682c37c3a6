"""A derivative of an activation as an activation in its own right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from repflow.activation import Activation


@dataclass(frozen=True, eq=False)
class Derived(Activation):
    """sigma^(shift), the regular part where sigma has breakpoints; its derivatives and jumps are those of sigma."""

    parent: Activation | None = None
    shift: int = 0

    @property
    def _sigma(self) -> Activation:
        assert self.parent is not None
        return self.parent

    def derivative(self, z: Tensor, order: int = 1) -> Tensor:
        """sigma^(order + shift)(z), the regular part."""
        return self._sigma.derivative(z, order + self.shift)

    def jumps(self, order: int) -> tuple[tuple[float, float], ...]:
        """Jumps of sigma^(order + shift)."""
        return self._sigma.jumps(order + self.shift)


def derived(activation: Activation, shift: int) -> Activation:
    """sigma^(shift); sigma itself for 0."""
    if shift == 0:
        return activation
    return Derived(
        name=f"{activation.name}{chr(39) * shift}",
        function=partial(activation.derivative, order=shift),
        breakpoints=tuple((point, max(order - shift, 0)) for point, order in activation.breakpoints),
        registered=False,
        parent=activation,
        shift=shift,
    )
