"""Initialisation of any module, layer by layer on the data: what each tensor's draws should be like.

Weights, whatever their module (linear, convolution, embedding), are Gaussian with the standard deviation for which the
output of their module, met in order of execution with everything before it already drawn this way, has

- mean square 1 over the data (an input layer, one behind a norm, a pooling or anything else, q, k and v of attention);
- the variance C_W <s s> + C_b of the critical couplings, where an elementwise activation module feeds it
  (:func:`repflow.critical`; a norm or a pooling in between makes it the case above, as does an activation called as a
  function, which no module shows);
- a residual branch's last weights: the mean square of the stream before the first branch over the number of branches,
  so that all branches together add the stream's own size (depth-muP's 1/sqrt(depth); CompleteP takes less). It replaces
  whatever factor the model's own initialisation had, such as GPT-2's 1/sqrt(2 L), so none counts twice;
- the head: n^-s times the loss's margin squared, with n its fan-in; where it is the embedding too, 1, and all
  embeddings have its size, 1/sqrt(n).

By measurement rather than from fan-in alone, attention's averaging, padding and pooling are accounted for; for
scale-invariant and normalised layers it is the critical point. Biases are 0 (sqrt(C_b) where critical couplings ask for
them), gains of norms 1, or 1/sqrt(branches) for a norm that ends a branch. What no module holds alone (position
embeddings, class tokens) and other vectors (slopes, temperatures) stay as they are, and so do frozen parameters.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from repflow.activation import Activation, as_activation
from repflow.criticality import Critical, critical
from repflow.empirical.call import Call
from repflow.empirical.sites import Site, own_output
from repflow.empirical.streams import Branch, Seen
from repflow.empirical.twin import Parameters, Passage, Twin

#: Draws that a standard deviation is averaged over.
_DRAWS = 4
#: What is elementwise and no activation.
_TRANSPARENT = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout)


@dataclass(frozen=True)
class Initial:
    """Draws of one tensor.

    Attributes
    ----------
    std, mean
        Of the Gaussian.
    keep
        Leave the values as they are.
    """

    std: float
    mean: float = 0.0
    keep: bool = False


@dataclass(frozen=True)
class Anatomy:
    """What the tuning needs to know of a module's build.

    Attributes
    ----------
    sites
        In order of execution.
    fan_in
        By tensor.
    branches
        Additions to residual streams.
    head
        Path of the last site with weights, or None.
    learns
        Names of the tensors that require a gradient.
    """

    sites: tuple[Site, ...]
    fan_in: dict[str, int]
    branches: tuple[Branch, ...]
    head: str | None
    learns: frozenset[str]

    def weights(self, site: Site, parameters: Parameters) -> list[str]:
        """A site's tensors of two axes or more."""
        return [name for name in site.tensors.values() if parameters[name].ndim > 1]

    @property
    def head_site(self) -> Site | None:
        """The site of the head."""
        return next((site for site in self.sites if site.path == self.head), None)

    def head_tensors(self) -> set[str]:
        """Names of the head's tensors."""
        site = self.head_site
        return set(site.tensors.values()) if site else set()


def head_of(sites: Sequence[Site], fan_in: Mapping[str, int], parameters: Parameters) -> str | None:
    """The last site whose weights multiply several features."""
    for site in reversed(sites):
        if any(parameters[name].ndim > 1 and fan_in[name] > 1 for name in site.tensors.values()):
            return site.path
    return None


def is_norm(site: Site) -> bool:
    """Whether a site's class calls itself a norm; its gains then start at 1."""
    return "norm" in site.kind.lower()


def draw_all(initial: Mapping[str, Initial], parameters: Parameters, generator: torch.Generator) -> Parameters:
    """New values of all parameters, as :meth:`repflow.Plan.initialize_` would draw them."""
    drawn = {}
    for name, tensor in parameters.items():
        how = initial[name]
        if how.keep:
            drawn[name] = tensor.clone()
        elif how.std == 0:
            drawn[name] = torch.full_like(tensor, how.mean)
        else:
            normal = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            drawn[name] = (normal * how.std + how.mean).to(tensor.device)
    return drawn


def initial_values(
    twin: Twin, call: Call, anatomy: Anatomy, scaling: float, margin: float = 1.0, draws: int = _DRAWS
) -> dict[str, Initial]:
    """How each tensor should be drawn, measured layer by layer and averaged over a few draws.

    Parameters
    ----------
    twin, call, anatomy
        The module, the data, and its build.
    scaling
        s of the head's variance.
    margin
        How much further than the targets the outputs have to go: a factor of the head's standard deviation.
    draws
        To average over.
    """
    parameters = twin.parameters
    start = _start(anatomy, parameters)
    frozen = [name for name in parameters if name not in anatomy.learns]
    initial = {**start, **{name: Initial(0.0, keep=True) for name in frozen}}
    squares: dict[str, list[float]] = {}
    biases: dict[str, float] = {}
    for number in range(draws):
        drawn = draw_all(initial, parameters, torch.Generator().manual_seed(7_000 + number))
        pass_ = _Sequential(anatomy, drawn, initial, scaling, margin)
        with torch.no_grad(), twin.norms_in_training():
            twin.watch(drawn, call, pass_.enter, pass_.leave)
        for name, std in pass_.stds.items():
            squares.setdefault(name, []).append(std**2)
        biases.update(pass_.biases)
    for name, found in squares.items():
        initial[name] = Initial(math.sqrt(sum(found) / len(found)))
    for name, std in biases.items():
        initial[name] = Initial(std)
    gains = 1 / math.sqrt(max(len(anatomy.branches), 1))
    for site in anatomy.sites:
        ends_branch = any(branch.site == site.path for branch in anatomy.branches)
        if ends_branch and not anatomy.weights(site, parameters):
            for name in site.tensors.values():
                if initial[name].mean == 1.0:
                    initial[name] = replace(initial[name], mean=gains)
    return initial


def _start(anatomy: Anatomy, parameters: Parameters) -> dict[str, Initial]:
    """Before anything is measured: unit weights, biases 0, gains 1, the rest kept."""
    initial = {name: Initial(0.0, keep=True) for name in parameters}
    for site in anatomy.sites:
        if "parametrizations" in site.path.split("."):
            continue  # what weights are computed from: its size is not that of a weight
        for local, name in site.tensors.items():
            if parameters[name].ndim > 1:
                initial[name] = Initial(anatomy.fan_in[name] ** -0.5)
            elif "bias" in local or local == "beta":
                initial[name] = Initial(0.0)
            elif is_norm(site) or local in ("gamma", "gain"):
                initial[name] = Initial(0.0, mean=1.0)
    return initial


class _Sequential:
    """One forward pass in which each site's weights are scaled just before they are used."""

    def __init__(
        self, anatomy: Anatomy, drawn: Parameters, start: Mapping[str, Initial], scaling: float, margin: float
    ) -> None:
        self._anatomy, self._drawn, self._scaling, self._margin = anatomy, drawn, scaling, margin
        self._kept = {name for name, how in start.items() if how.keep}
        self.stds: dict[str, float] = {}
        self.biases: dict[str, float] = {}
        self._sites = {site.path: site for site in anatomy.sites}
        self._branch = {branch.site: (i, branch) for i, branch in enumerate(anatomy.branches)}
        self._streams = {branch.stream for branch in anatomy.branches}
        self._squares: dict[Seen, float] = {}
        self._last: Passage | None = None
        head = anatomy.head_site
        self._tied = set(head.tensors.values()) if head else set()
        self._tied = {n for n in self._tied if sum(n in s.tensors.values() for s in anatomy.sites) > 1}

    def enter(self, passage: Passage, number: int) -> None:
        self._note(passage.input, Seen(number, "in"))
        site = self._sites.get(passage.path)
        if site is None:
            return
        free = [
            name
            for name in self._anatomy.weights(site, self._drawn)
            if name in self._anatomy.learns and name not in self.stds and name not in self._kept
        ]
        if not free:
            return
        target = self._target(site, passage)
        reached, doubled = (_mean_square(self._own(site, passage, free, scale)) for scale in (1.0, 2.0))
        if not (0 < reached < math.inf) or abs(doubled / reached - 4.0) > 0.1:
            return  # no input, an overflow, or an output that does not grow with the weights (recurrent layers)
        bias = self._critical_bias(site, passage)
        factor = math.sqrt(max(target - bias**2, 1e-12) / reached)
        for name in free:
            before = _rms(self._drawn[name])
            self._drawn[name].mul_(factor)
            self.stds[name] = before * factor
        for local, name in site.tensors.items():
            if bias and local == "bias" and name in self._anatomy.learns:
                self.biases[name] = bias
                self._drawn[name].normal_(0.0, bias, generator=torch.Generator().manual_seed(number))

    def leave(self, passage: Passage, number: int) -> None:
        self._note(passage.output, Seen(number, "out"))
        self._last = passage

    def _note(self, tensor: Tensor | None, where: Seen) -> None:
        if tensor is not None and where in self._streams:
            self._squares[where] = _mean_square(tensor)

    def _own(self, site: Site, passage: Passage, weights: list[str], scale: float) -> Tensor:
        """The site's output with its weights multiplied, and no biases."""
        values = {
            local: self._drawn[name] * scale
            if name in weights
            else self._drawn[name] * (0.0 if "bias" in local else 1.0)
            for local, name in site.tensors.items()
        }
        return own_output(passage, values)

    def _target(self, site: Site, passage: Passage) -> float:
        if site.path == self._anatomy.head:
            width = max(self._anatomy.fan_in[name] for name in self._anatomy.weights(site, self._drawn))
            return float(self._margin**2 * width**-self._scaling)
        lookup = passage.input is not None and not passage.input.is_floating_point()
        if self._tied and lookup:  # an embedding that is the head too, and those that are added to it
            return 1.0 / max(self._anatomy.fan_in[name] for name in self._tied)
        if site.path in self._branch:
            place, branch = self._branch[site.path]
            stream = self._squares.get(branch.stream, 1.0)
            return stream / (len(self._branch) + place)
        couplings = self._couplings(passage)
        if couplings is None or passage.input is None:
            return 1.0
        return couplings[0] * _mean_square(passage.input) + couplings[1]

    def _critical_bias(self, site: Site, passage: Passage) -> float:
        if site.path == self._anatomy.head or site.path in self._branch:
            return 0.0
        couplings = self._couplings(passage)
        held = any(local == "bias" for local in site.tensors)
        return math.sqrt(couplings[1]) if couplings is not None and held else 0.0

    def _couplings(self, passage: Passage) -> tuple[float, float] | None:
        """Critical (C_W, C_b) of the activation module whose output this module takes; None for anything else."""
        last = self._last
        if (
            last is None
            or last.output is None
            or passage.input is None
            or next(last.module.parameters(), None) is not None
        ):
            return None
        if last.output.data_ptr() != passage.input.data_ptr() or last.output.numel() != passage.input.numel():
            return None
        if isinstance(last.module, _TRANSPARENT) or list(last.module.children()):
            return None
        try:
            point = _critical_point(as_activation(last.module))
        except Exception:  # whatever it is, it is not an elementwise activation
            return None
        return float(point.C_W), float(point.C_b)


def universality_classes(module: nn.Module) -> set[str]:
    """Classes of the modules inside that are elementwise activations without parameters."""
    found = set()
    for part in module.modules():
        if list(part.children()) or next(part.parameters(), None) is not None or isinstance(part, _TRANSPARENT):
            continue
        try:
            found.add(_critical_point(as_activation(part)).universality_class)
        except Exception:  # whatever it is, it is not an elementwise activation
            continue
    return found


@lru_cache(maxsize=64)
def _critical_point(activation: Activation) -> Critical:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return critical(activation)


def _mean_square(tensor: Tensor | None) -> float:
    return math.nan if tensor is None else float(tensor.detach().double().square().mean())


def _rms(tensor: Tensor) -> float:
    return math.sqrt(_mean_square(tensor))
