"""A plan for any module, by measurement: what :func:`repflow.tune` does where theory cannot read a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repflow.empirical.call import Call, as_call
from repflow.empirical.draw import fan_in
from repflow.empirical.response import Features
from repflow.empirical.sites import find_sites
from repflow.empirical.streams import find_branches
from repflow.empirical.twin import Parameters, Twin
from repflow.tuning import constants
from repflow.tuning.aspect_ratio import AspectRatio
from repflow.tuning.initial import Anatomy, Initial, draw_all, head_of, initial_values, is_norm, universality_classes
from repflow.tuning.measured import MeasuredRates, measured_rates
from repflow.tuning.notes import above_the_edge, seeds_differ
from repflow.tuning.parameters import ParameterPlan, root_mean_square
from repflow.tuning.plan import Plan
from repflow.tuning.rates import Aims, GroupRate, aims_for
from repflow.tuning.targets import loss_scale
from repflow.tuning.vectors import Outputs, output_vectors
from repflow.tuning.wrapping import parameters_by_name

#: Rows of the data, and draws of the initialisation, that the measurement looks at.
ROWS, DRAWS = 32, 8
#: Forward passes a draw by which the fluctuation between draws is measured.
_FLUCTUATION = 4
#: Parameters times rows and positions beyond which fewer draws are made, since a model of that size averages over
#: itself, and beyond which fewer rows are looked at as well.
_LARGE, _FEW_DRAWS = 2e9, 2
_HUGE, _FEW_ROWS = 2e10, 8

_MEASURED = (
    "rates, initialisation and fluctuation are measured, on {draws} draws over {rows} rows, since the model is no "
    "chain: {why}"
)
_NO_ADAM_EDGE = "max_learning_rate is None for Adam and AdamW: it is 2 over the sharpness, which bounds gradient steps"


def module_plan(model: nn.Module, x: Any, y: Any, scaling: float | None, loss: str, why: str) -> Plan:
    """A measured plan; arguments as in :func:`repflow.tune`, ``why`` the model is no chain.

    Raises
    ------
    ValueError, TypeError
        The model fails on ``x`` as a whole, has nothing to train, or ``x`` or ``y`` is not of a form that it takes.
    """
    whole_call = as_call(x)
    twin = Twin(model)
    if not twin.learns:
        raise ValueError("model has no trainable parameter: nothing can be tuned")
    call, rows = whole_call.cast(twin.dtype).evenly(ROWS)
    _check_not_zero(call)
    notes: list[str] = []
    anatomy, outputs = examine(twin, call, y, rows, whole_call.rows, loss)
    cost = sum(tensor.numel() for tensor in twin.parameters.values()) * outputs.places
    draws = DRAWS if cost <= _LARGE else _FEW_DRAWS
    if cost > _HUGE and call.rows > _FEW_ROWS:
        call, rows = whole_call.cast(twin.dtype).evenly(_FEW_ROWS)
        anatomy, outputs = examine(twin, call, y, rows, whole_call.rows, loss)
    notes.append(_MEASURED.format(draws=draws, rows=call.rows, why=why))
    # The head's part of the initialisation can carry n^-s only where it is the head alone.
    free_head = anatomy.head is not None and not _shared(anatomy)
    if not free_head:
        scaling = 0.0
        notes.append("s = 0: the model has no last weights of its own whose size could carry n^-s")
    at = 1.0 if free_head else 0.0
    scale = loss_scale(loss, outputs.count)
    carried = scale.margin if free_head else 1.0
    initial = initial_values(twin, call, anatomy, at, carried)

    def initialize(generator: torch.Generator) -> Parameters:
        return draw_all(initial, twin.parameters, generator)

    kept = frozenset(name for name in twin.learns if initial[name].keep)
    aims = aims_of(twin, anatomy)
    found = measured_rates(twin, call, anatomy, initialize, outputs, scale, scaling, at, draws, aims, carried, kept)
    initial = _with_head_factor(initial, anatomy, twin.parameters, at - found.scaling)
    notes += [f"{path} could not be measured alone ({reason})" for path, reason in found.failures.items()]
    variance = _relative_variance(twin, call, anatomy, initialize, _FLUCTUATION * draws)
    notes += seeds_differ(variance)
    if anatomy.branches:
        notes.append(
            f"{len(anatomy.branches)} residual branches found; their last weights are drawn so that together they add "
            "the stream's own size"
        )
    notes += [*above_the_edge(found.edge), _NO_ADAM_EDGE]
    width = max((anatomy.fan_in[name] for name in anatomy.head_tensors()), default=1)
    return Plan(
        network=None,
        current=None,
        parameters=_entries(model, twin, anatomy, initial, found, notes),
        scaling=found.scaling,
        chosen=scaling is not None and free_head,
        loss=loss,
        kappa=found.kappa,
        edge=found.edge,
        binding=found.binding,
        aspect_ratio=AspectRatio((found.depth - 1) / width, None, variance, None),
        correlation_length=None,
        notes=tuple(notes),
        layers=sum(1 for tensor in twin.parameters.values() if tensor.ndim > 1),
    )


def examine(twin: Twin, call: Call, y: Any, rows: Tensor, total: int, loss: str) -> tuple[Anatomy, Outputs]:
    """The build of a module and the form of its outputs, from a forward pass with drawn weights."""
    output, passages = twin.watch(twin.parameters, call)
    sites = find_sites(twin, passages)
    fans = fan_in(sites, passages, twin.parameters)
    head = head_of(sites, fans, twin.parameters)
    # Weights of any size let a sum be seen, but not those that start as 0, as the last of many a branch does.
    start = {
        name: tensor + torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)).to(tensor)
        * max(fans[name], 1) ** -0.5 * (1.0 if tensor.ndim > 1 else 0.1)
        for name, tensor in twin.parameters.items()
    }  # fmt: skip
    with twin.norms_in_training():
        branches = [
            branch
            for branch in find_branches(twin, start, call, sites)
            if branch.site != head and _multiplies(branch.site, sites, fans)
        ]
    anatomy = Anatomy(tuple(sites), fans, tuple(branches), head, frozenset(twin.learns))
    return anatomy, output_vectors(output, y, rows, total, loss)


def aims_of(twin: Twin, anatomy: Anatomy) -> Aims:
    """Those of scale-invariant activations where there are norms or residual branches; else by the activations that are
    modules.
    """
    normalised = anatomy.branches or any(is_norm(site) for site in anatomy.sites)
    return aims_for(set() if normalised else universality_classes(twin.module))


def _multiplies(path: str, sites: Sequence[Any], fans: dict[str, int]) -> bool:
    """Whether a site is more than a lookup: an embedding added to another is no branch."""
    site = next(site for site in sites if site.path == path)
    weights = [name for local, name in site.tensors.items() if local not in ("bias", "beta")]
    return any(fans[name] > 1 for name in weights) or is_norm(site)


def _shared(anatomy: Anatomy) -> bool:
    """Whether a weight of the head is another module's too."""
    head = anatomy.head_tensors()
    return any(site.path != anatomy.head and head & set(site.tensors.values()) for site in anatomy.sites)


def _with_head_factor(
    initial: dict[str, Initial], anatomy: Anatomy, parameters: Parameters, excess: float
) -> dict[str, Initial]:
    """The head's standard deviation with another power of its width."""
    site = anatomy.head_site
    if site is None or excess == 0:
        return initial
    result = dict(initial)
    for name in anatomy.weights(site, parameters):
        how = initial[name]
        result[name] = Initial(how.std * anatomy.fan_in[name] ** (0.5 * excess), how.mean, how.keep)
    return result


def _relative_variance(twin: Twin, call: Call, anatomy: Anatomy, initialize: Any, draws: int) -> float:
    """Variance over draws of the last features' mean square, relative to its mean's square, averaged over rows."""
    features = Features(anatomy.head)
    squares = []
    with torch.no_grad():
        for number in range(draws):
            parameters = initialize(torch.Generator().manual_seed(number))
            twin.batch_statistics(parameters, call)
            last = features.read(*twin.watch(parameters, call)).double()
            squares.append(last.flatten(1).square().mean(1))
    stacked = torch.stack(squares)
    mean = stacked.mean(0)
    relative = stacked.var(0) / mean.clamp(min=1e-300).square()
    return float(relative[mean > 0].mean()) if bool((mean > 0).any()) else 0.0


def _entries(
    model: nn.Module,
    twin: Twin,
    anatomy: Anatomy,
    initial: dict[str, Initial],
    found: MeasuredRates,
    notes: list[str],
) -> tuple[ParameterPlan, ...]:
    """One entry for each parameter name of the model, in the model's order."""
    order = {name: site.order + 1 for site in reversed(anatomy.sites) for name in site.tensors.values()}
    canonical: dict[int, str] = {}
    entries = []
    for name, parameter in parameters_by_name(model).items():
        first = canonical.setdefault(id(parameter), name)
        how = initial[first]
        rate = found.groups.get(first)
        role = "free" if how.keep and parameter.requires_grad else _role(first, anatomy, twin.parameters[first])
        if rate is None:
            reason = "frozen"
        elif rate.trace == 0 and rate.sgd == 0:
            reason = "no effect on the outputs"
        else:
            reason = _reason(role, found, rate)
        rate = rate or GroupRate(0.0, 0.0, 0.0, 0.0, 0.0)
        size = root_mean_square(parameter)
        entries.append(
            ParameterPlan(
                name=name,
                role=role,
                layer=order.get(first, 0),
                shape=tuple(parameter.shape),
                old_std=size,
                new_std=size if how.keep else how.std,
                sgd=rate.sgd,
                adam=rate.adam,
                gradient=rate.gradient,
                trace=rate.trace,
                eigenvalue=rate.eigenvalue,
                set_by=reason,
                trainable=parameter.requires_grad,
                tied_to=None if first == name else first,
                new_mean=0.0 if how.keep else how.mean,
                keep=how.keep,
            )
        )
    free = [entry.name for entry in entries if entry.role == "free" and entry.trainable]
    if free:
        notes.append(
            f"{', '.join(free)}: no weight, bias or gain of a known module, so kept as they are, and stepped "
            "under Adam relative to their size"
        )
    return tuple(entries)


def _role(name: str, anatomy: Anatomy, tensor: Tensor) -> str:
    sites = [site for site in anatomy.sites if name in site.tensors.values()]
    if not sites:
        return "free"
    local = next(key for key, full in sites[0].tensors.items() if full == name)
    bias = "bias" in local or local == "beta"
    if any(site.path == anatomy.head for site in sites):
        return "head bias" if bias else "head weight"
    if tensor.ndim < 2:
        return "hidden bias" if bias else "gain"
    if anatomy.fan_in[name] == 1:
        return "embedding"
    if any(branch.site == site.path for branch in anatomy.branches for site in sites):
        return "branch weight"
    return "hidden weight"


def _reason(role: str, found: MeasuredRates, rate: GroupRate) -> str:
    limit = "feature change" if found.binding == "features" else "edge of stability"
    vector = role.endswith("bias") or role == "gain"
    share = constants.BIAS_SHARE if vector else constants.HEAD_SHARE if role == "head weight" else 1.0
    return f"{limit}, share {share:.3g}; Adam: step {rate.step:.2g}; measured"


def _check_not_zero(call: Call) -> None:
    tensors = [entry for entry in (*call.args, *call.kwargs.values()) if isinstance(entry, Tensor)]
    if all(tensor.is_floating_point() and not bool(tensor.any()) for tensor in tensors):
        raise ValueError("x is zero everywhere: a module's response to it cannot be tuned")
