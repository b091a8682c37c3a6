"""``measure``: a table of what is measured on one module, on the user's data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repflow.empirical.call import Call, as_call
from repflow.empirical.draw import Draw, Pull, fan_in, gradients, measure_draw
from repflow.empirical.kernels import gram
from repflow.empirical.reach import reaches
from repflow.empirical.response import Features
from repflow.empirical.result import Measurement, ModuleMeasure, TensorMeasure
from repflow.empirical.sites import Site, find_sites
from repflow.empirical.streams import find_branches
from repflow.empirical.susceptibility import Susceptibility, susceptibilities
from repflow.empirical.twin import Parameters, PartialForwardError, Passage, Twin
from repflow.isolation import first_line, random_state_kept


def measure(
    module: nn.Module,
    x: Any,
    pull: Pull | None = None,
    draws: int = 8,
    initialize: Callable[[torch.Generator], Mapping[str, Tensor]] | None = None,
    rows: int = 32,
    seed: int = 0,
    axis: int = -1,
) -> Measurement:
    """Measure a module on data, on functional copies; the module stays bit for bit as it is.

    Parameters
    ----------
    module
        Of any kind, with parameters.
    x
        A tensor or array (N, ...), a tuple of arguments, or a dictionary of keywords, whose entries may be None or
        integer tensors.
    pull
        The loss's derivative by the output, from the output and a generator. None: independent normal entries over N.
    draws
        Of ``initialize``.
    initialize
        Gives values of all parameters by name for a generator. None: the values as they are, measured once.
    rows
        At most so many, evenly spaced.
    seed
        Of everything random.
    axis
        Of the output over its n_L values.

    Returns
    -------
    Measurement
        Whatever could be measured; ``failures`` names the rest.

    Raises
    ------
    TypeError, ValueError
        ``x`` is of no such form, ``draws`` or ``rows`` is below 1, or the module has no parameter, no data or cannot be
        copied.
    """
    for name, value in (("draws", draws), ("rows", rows)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be an nn.Module, got {type(module).__name__}")
    with random_state_kept():
        twin = Twin(module)
        call, _ = as_call(x).cast(twin.dtype).evenly(rows)
        if initialize is None:
            draws, initialize = 1, lambda _: twin.parameters
        return _Averages(twin, call, pull or _normal, draws, initialize, seed, axis).measurement()


def _normal(output: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(output.shape, generator=generator) / (len(output) if output.ndim else 1)


class _Averages:
    """Runs the draws and averages; every part that fails is noted, and the others go on."""

    def __init__(
        self,
        twin: Twin,
        call: Call,
        pull: Pull,
        draws: int,
        initialize: Callable[[torch.Generator], Mapping[str, Tensor]],
        seed: int,
        axis: int,
    ) -> None:
        self.twin, self.call, self.pull, self.axis = twin, call, pull, axis
        self.failures: dict[str, str] = {}
        self.values = [
            {
                name: tensor.detach().clone().requires_grad_(name in twin.learns)
                for name, tensor in initialize(torch.Generator().manual_seed(seed * 1_000_003 + i)).items()
            }
            for i in range(draws)
        ]
        self.seeds = [seed * 1_000_003 + 500_000 + i for i in range(draws)]

    def measurement(self) -> Measurement:
        """All of it, or the part that is known."""
        try:
            with torch.no_grad():
                _, passages = self.twin.watch(self.values[0], self.call)
        except PartialForwardError as error:
            self.failures[error.where or "the model itself"] = error.reason
            return self._before_the_failure(error.passages)
        sites = find_sites(self.twin, passages)
        fans = fan_in(sites, passages, self.values[0])
        weighty = [s for s in sites if any(self.values[0][n].ndim > 1 and fans[n] > 1 for n in s.tensors.values())]
        head = weighty[-1] if weighty else None
        features = Features(head.path if head else None)
        stepping = sorted(
            name
            for name in self.twin.learns
            if self.values[0][name].ndim > 1 and (head is None or name not in head.tensors.values())
        )
        found, chis, reach = [], [], []
        for values, seed in zip(self.values, self.seeds, strict=True):
            draw = self._try("gradients", self._draw, values, seed, sites, features, stepping)
            if draw is not None:
                found.append(draw)
                self.failures.update(draw.failures)
            chis.append(self._try("susceptibilities", self._susceptibilities, values, seed, sites) or {})
            reach.append(self._try("changes of the last features", self._reach, values, seed, features) or {})
        branches = self._try("branches", find_branches, self.twin, self.values[0], self.call, sites) or []
        ratios = {branch.site: branch.ratio for branch in branches if head is None or branch.site != head.path}
        if not found:
            return self._before_the_failure(passages)
        squares = torch.stack([draw.feature_squares for draw in found if draw.feature_squares is not None])
        return Measurement(
            tuple(self._module(site, found, chis, ratios.get(site.path)) for site in sites),
            tuple(self._tensor(name, sites, fans, found, reach) for name in self.twin.parameters),
            _rms([draw.unit_response for draw in found]),
            float((squares.var(0) / squares.mean(0).clamp(min=1e-300) ** 2).mean().sqrt())
            if len(found) > 1
            else math.nan,
            self.call.rows,
            len(self.values),
            self.failures,
        )

    def _try(self, name: str, part: Callable[..., Any], *arguments: Any) -> Any:
        """A part of the measurement; what it raises is noted under its name."""
        try:
            return part(*arguments)
        except Exception as error:  # whatever a user's module raises must not cost the rest of the table
            self.failures.setdefault(name, f"{type(error).__name__}: {first_line(error)}")
            return None

    def _draw(self, values: Parameters, seed: int, sites: list[Site], features: Features, stepping: list[str]) -> Draw:
        generator = torch.Generator().manual_seed(seed)
        arguments = (self.twin, values, self.call, sites, features, self.pull, generator, stepping, self.axis)
        try:
            return measure_draw(*arguments)
        except ValueError as error:  # outputs that are no rows have gradients, but no tangent kernel over rows
            self.failures.setdefault("tangent kernels", first_line(error))
            return measure_draw(*arguments, kernels=False)

    def _susceptibilities(self, values: Parameters, seed: int, sites: list[Site]) -> dict[str, Susceptibility]:
        return susceptibilities(self.twin, values, self.call, sites, torch.Generator().manual_seed(seed))

    def _reach(self, values: Parameters, seed: int, features: Features) -> dict[str, list[float]]:
        generator = torch.Generator().manual_seed(seed)
        own, _, _ = gradients(self.twin, values, self.call, self.pull, generator)
        steps = {name: (gradient, gradient.sign()) for name, gradient in own.items()}
        return reaches(self.twin, values, self.call, features, steps, generator)

    def _module(
        self, site: Site, found: list[Draw], chis: list[dict[str, Susceptibility]], ratio: float | None
    ) -> ModuleMeasure:
        drawn = [draw.sites[site.path] for draw in found if site.path in draw.sites]
        own = [chi[site.path] for chi in chis if site.path in chi]
        empty = np.zeros((0, 0))
        return ModuleMeasure(
            site.path,
            site.kind,
            site.order + 1,
            _mean([entry.mean_square for entry in drawn]),
            torch.stack([entry.kernel for entry in drawn]).mean(0).numpy() if drawn else empty,
            _mean([chi.parallel for chi in own]),
            _mean([chi.perpendicular for chi in own]),
            _rms([entry.gradient for entry in drawn]),
            ratio,
        )

    def _tensor(
        self,
        name: str,
        sites: list[Site],
        fans: dict[str, int],
        found: list[Draw],
        reach: list[dict[str, list[float]]],
    ) -> TensorMeasure:
        module = next((site.path for site in sites if name in site.tensors.values()), None)
        shape = tuple(self.twin.parameters[name].shape)
        if name not in self.twin.learns:
            return TensorMeasure(name, module, shape, fans[name])
        drawn = [draw.tensors[name] for draw in found]
        kernels = [entry.kernel for entry in drawn if entry.kernel is not None]
        kernel = torch.stack(kernels).mean(0) if kernels else None
        far = [entry[name] for entry in reach if name in entry]
        rows = [entry.row / entry.size for entry in drawn if entry.size > 0]
        return TensorMeasure(
            name,
            module,
            shape,
            fans[name],
            _rms([entry.gradient for entry in drawn]),
            math.nan if kernel is None else float(kernel.trace()),
            math.nan if kernel is None else float(torch.linalg.eigvalsh(kernel)[-1]) / len(kernel),
            _rms([entry.sgd for entry in drawn]),
            _rms([entry.sign for entry in drawn]),
            math.sqrt(fans[name] * _mean(rows)) if rows else math.nan,
            _rms([entry[0] for entry in far]),
            _rms([entry[1] for entry in far]),
        )

    def _before_the_failure(self, passages: list[Passage]) -> Measurement:
        """Kernels of the modules that ran."""
        modules = [
            ModuleMeasure(
                site.path,
                site.kind,
                site.order + 1,
                float(z.detach().double().square().mean()),
                gram(z).numpy() if z.ndim > 1 else np.zeros((0, 0)),
            )
            for site in find_sites(self.twin, passages)
            if (z := passages[site.calls[0]].output) is not None
        ]
        where = {name: site.path for site in find_sites(self.twin, passages) for name in site.tensors.values()}
        tensors = [
            TensorMeasure(name, where.get(name), tuple(tensor.shape)) for name, tensor in self.twin.parameters.items()
        ]
        return Measurement(
            tuple(modules), tuple(tensors), math.nan, math.nan, self.call.rows, len(self.values), self.failures
        )


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _rms(values: list[float]) -> float:
    return math.sqrt(_mean([value**2 for value in values])) if values else math.nan
