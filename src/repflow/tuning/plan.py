"""``Plan``: advice for one model, as plain data that applies itself to a model on request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from scipy.stats import norm
from torch import nn

from repflow.activation import ActivationLike
from repflow.network import Network
from repflow.results import Payload, Result, result_schema
from repflow.tuning import table as tables
from repflow.tuning.aspect_ratio import CHAOTIC, AspectRatio
from repflow.tuning.optimizers import Family, family_of, momentum_factor
from repflow.tuning.parameters import OTHER, ParameterPlan, check_model, draw


@result_schema("plan", version=1)
class Plan(Result):
    """Initialisation and learning rates of a model, with the theory behind them.

    Made by :func:`repflow.tune`. Nothing but :meth:`initialize_` writes to a model.

    Attributes
    ----------
    network
        The model as a network with the advised couplings; the head's include the factor n^-s. None for a model that is
        no chain, whose plan is measured.
    current
        The model with the couplings that its weights have; None for a model on the meta device, and for a measured one.
    parameters
        One :class:`~repflow.tuning.parameters.ParameterPlan` for each parameter of the model.
    scaling
        s in [0, 1]: 0 the tangent limit, 1 maximal update.
    loss
        The loss that the rates are for.
    kappa
        Predicted relative change of the hidden features in the first step at lr = 1.0 with SGD: the root of the sum
        over layers of the squared change, that of a layer and all below it.
    edge
        The edge of stability of gradient descent in units of lr.
    binding
        ``"features"`` or ``"stability"``: the limit that sets lr = 1.0 for SGD.
    fluctuation
        Predicted standard deviation of the output kernel between seeds, relative to its mean; in a measured plan that
        of the last features' mean square over draws.
    aspect_ratio
        Depth against width.
    notes
        What was left out of account, and warnings.
    """

    def __init__(
        self,
        network: Network | None,
        current: Network | None,
        parameters: tuple[ParameterPlan, ...],
        scaling: float,
        chosen: bool,
        loss: str,
        kappa: float,
        edge: float,
        binding: str,
        aspect_ratio: AspectRatio,
        correlation_length: float | None,
        notes: tuple[str, ...] = (),
        layers: int | None = None,
    ) -> None:
        self._network: Network | dict[str, Any] | None = network
        self._layers = layers
        self._current: Network | dict[str, Any] | None = current
        self._activations: Mapping[str, ActivationLike] | None = None
        self.parameters = parameters
        self.scaling = scaling
        self.chosen = chosen
        self.loss = loss
        self.kappa = kappa
        self.edge = edge
        self.binding = binding
        self.aspect_ratio = aspect_ratio
        self.correlation_length = correlation_length
        self.notes = notes

    @property
    def measured(self) -> bool:
        """Whether rates, fluctuation and initialisation were measured on draws of the module rather than computed."""
        return self._network is None

    @property
    def network(self) -> Network | None:
        """The model with the advised couplings, or None where it is no chain.

        In a plan that was loaded, ValueError where an activation can be built from neither its name nor
        ``activations``; the rest of the plan needs none.
        """
        if isinstance(self._network, dict):
            self._network = Network.from_dict(self._network, self._activations)
        return self._network

    @property
    def current(self) -> Network | None:
        """The model with the couplings that its weights have."""
        if isinstance(self._current, dict):
            self._current = Network.from_dict(self._current, self._activations)
        return self._current

    @property
    def depth(self) -> int:
        """L, the number of linear layers; of weight tensors of two axes or more in a measured plan."""
        if self._network is None:
            return self._layers or 0
        return self._network.depth if isinstance(self._network, Network) else len(self._network["layers"])

    @property
    def fluctuation(self) -> float:
        """Predicted standard deviation of the output kernel between seeds, relative to its mean.

        The root of V/(n K^2), averaged over inputs.
        """
        return math.sqrt(self.aspect_ratio.relative_variance)

    def seeds_needed(self, effect: float, power: float = 0.8, significance: float = 0.05) -> int:
        """Seeds an arm needs for a two-sided test to see a relative difference of this size in the output kernel's
        scale.

            2 (z_{1 - significance/2} + z_power)^2 (fluctuation/effect)^2, rounded up, at least 2

        Parameters
        ----------
        effect
            Relative difference to detect, above 0.
        power, significance
            Of the test, between 0 and 1.
        """
        for name, value in (("power", power), ("significance", significance)):
            if not 0 < value < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {value!r}")
        if not effect > 0:
            raise ValueError(f"effect must be above 0, got {effect!r}")
        z = float(norm.ppf(1 - significance / 2) + norm.ppf(power))
        return max(2, math.ceil(2 * (z * self.fluctuation / effect) ** 2))

    def max_learning_rate(self, optimizer: Any = "sgd", momentum: float = 0.0) -> float | None:
        """The edge of stability in units of lr: above it the full-batch loss first grows.

        2 over the predicted sharpness for gradient descent, 2 (1 + momentum) over it with momentum, whose lr is in
        units of sqrt(1 - momentum) times the rate without. None for Adam and AdamW, for which it is not derived.
        """
        family = family_of(optimizer, momentum)
        if family.adaptive:
            return None
        return self.edge * (1 + momentum) / momentum_factor(momentum)

    def param_groups(
        self,
        model: nn.Module,
        lr: float = 1.0,
        optimizer: Any = "sgd",
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        eps: float = 1e-8,
    ) -> list[dict[str, Any]]:
        """Parameter groups for a ``torch.optim`` optimiser; parameters of equal settings share one.

        Parameters
        ----------
        model
            The model tuned, or one with the same parameters.
        lr
            In units of the predicted best rate.
        optimizer
            ``"sgd"``, ``"adam"``, ``"adamw"``, or the class.
        weight_decay
            For a group whose rate is the plan's typical one; rate times decay is the same in every group, so that decay
            acts alike. Set in every group, 0 included: an optimiser's own default would slip in otherwise.
        momentum
            Of SGD: the rate is multiplied by sqrt(1 - momentum), and ``momentum`` set in every group.
        eps
            Of Adam: in the group with the largest gradients; in the others smaller in proportion to their predicted
            gradients.

        Returns
        -------
        list of dict
            With keys params, lr, weight_decay, and momentum or eps where the optimiser has them. Frozen parameters are
            left out.

        Raises
        ------
        ValueError, TypeError
            A rate or decay below 0, an unknown optimiser, or a model with other parameters than the plan's.
        """
        family = family_of(optimizer, momentum)
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("eps", eps)):
            _check_not_negative(name, value)
        found = check_model(model, self.parameters)
        groups: dict[tuple[float, ...], dict[str, Any]] = {}
        for entry, settings in self._settings(family, momentum):
            parameter = found[entry.name]
            if not parameter.requires_grad:
                continue
            if not entry.trainable:
                raise ValueError(
                    f"parameter {entry.name!r} was frozen when the plan was made and now learns; tune again"
                )
            rate, decay_factor, eps_factor = settings
            group: dict[str, Any] = {"params": [], "lr": lr * rate, "weight_decay": weight_decay * decay_factor}
            if family.adaptive:
                group["eps"] = eps * eps_factor
            elif momentum:
                group["momentum"] = momentum
            groups.setdefault(settings, group)["params"].append(parameter)
        return list(groups.values())

    def scale(self, lr: float = 1.0, optimizer: Any = "sgd", momentum: float = 0.0) -> list[float]:
        """One learning rate a group, in the order of :meth:`param_groups`, for schedulers that overwrite ratios.

        ``OneCycleLR(optimizer, max_lr=plan.scale(lr), ...)``, for example. Frozen parameters as at the time of tuning.
        """
        family = family_of(optimizer, momentum)
        _check_not_negative("lr", lr)
        distinct = dict.fromkeys(settings for entry, settings in self._settings(family, momentum) if entry.trainable)
        return [lr * settings[0] for settings in distinct]

    def _settings(self, family: Family, momentum: float) -> list[tuple[ParameterPlan, tuple[float, float, float]]]:
        """Rate, decay factor and eps factor of each parameter that is not tied to an earlier one."""
        entries = [entry for entry in self.parameters if entry.tied_to is None]
        rates = {
            entry.name: (entry.adam if family.adaptive else entry.sgd * momentum_factor(momentum)) for entry in entries
        }
        live = [rate for rate in rates.values() if rate > 0]
        typical = math.exp(sum(map(math.log, live)) / len(live)) if live else 1.0
        largest = max((entry.gradient for entry in entries), default=0.0)
        result = []
        for entry in entries:
            rate = rates[entry.name]
            decay = typical / rate if rate > 0 else 0.0
            share = entry.gradient / largest if entry.gradient > 0 else 1.0
            result.append((entry, (_rounded(rate), _rounded(decay), _rounded(share) if family.adaptive else 1.0)))
        return result

    def initialize_(self, model: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
        """Draw the model's parameters anew, in place: Gaussian weights and biases with the plan's standard deviations.

        Parameters
        ----------
        model
            The model tuned, or one with the same parameters. Frozen parameters are left alone, tied ones drawn once.
        generator
            Of the draws, on the CPU; the same seed gives the same weights whatever the model's device.

        Returns
        -------
        nn.Module
            The model.

        Raises
        ------
        ValueError
            The model's parameters are not the plan's, or lie on the meta device.
        """
        found = check_model(model, self.parameters)
        for entry in self.parameters:
            parameter = found[entry.name]
            if parameter.is_meta:
                raise ValueError(
                    f"parameter {entry.name!r} is on the meta device; materialise the model first (model.to_empty)"
                )
        for entry in self.parameters:
            written = entry.tied_to is None and entry.role != OTHER and not entry.keep
            if written and found[entry.name].requires_grad:
                draw(found[entry.name], entry.new_std, generator, entry.new_mean)
        return model

    def transfer_to(self, model: nn.Module, x: Any, y: Any = None) -> Plan:
        """The plan for another size of the model, with this plan's loss, and its s where that was given.

        An lr found best for this plan is meant to be best for the other.
        """
        from repflow.tuning.tune import tune

        return tune(model, x, y, scaling=self.scaling if self.chosen else None, loss=self.loss)

    def assert_healthy(self) -> None:
        """Raise AssertionError, with reasons and remedies, if the advised network should not be trained as it is."""
        reasons = []
        r = self.aspect_ratio.relative_variance
        if r > CHAOTIC:
            reasons.append(
                f"the output kernel differs by {self.fluctuation:.0%} between seeds (r_L = {r:.2f} > {CHAOTIC:g}): "
                f"{self._depth_remedy()}"
            )
        if self.correlation_length is not None and self.depth > self.correlation_length:
            reasons.append(
                f"differences between inputs survive {self.correlation_length:.1f} layers and the network has "
                f"{self.depth}: no critical couplings exist for its activation; take another"
            )
        if reasons:
            raise AssertionError("; ".join(reasons))

    def _depth_remedy(self) -> str:
        depth = self.aspect_ratio.advisable_depth
        return "widen it" if depth is None else f"at this width at most {depth} layers are advisable, or widen it"

    def table(self, format: str = "text") -> Any:
        """The plan by parameters.

        Parameters
        ----------
        format
            ``"text"``, ``"markdown"``, ``"html"``, or ``"dict"`` for a list of dictionaries.
        """
        return tables.render(self, format)

    def __repr__(self) -> str:
        return (
            f"Plan(depth={self.depth}, s={self.scaling:.3g}, kappa={self.kappa:.3g}, edge={self.edge:.3g} lr, "
            f"set by {self.binding}, fluctuation={self.fluctuation:.1%})"
        )

    def _repr_html_(self) -> str:
        return str(self.table("html"))

    def _payload(self) -> Payload:
        return Payload(
            {},
            {
                "network": None if self._network is None else _plain(self._network),
                "current": None if self._current is None else _plain(self._current),
                "parameters": [asdict(entry) for entry in self.parameters],
                "scaling": self.scaling,
                "chosen": self.chosen,
                "loss": self.loss,
                "kappa": self.kappa,
                "edge": self.edge,
                "binding": self.binding,
                "aspect_ratio": asdict(self.aspect_ratio),
                "correlation_length": self.correlation_length,
                "notes": list(self.notes),
                "layers": self._layers,
            },
        )

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, ActivationLike] | None = None) -> Plan:
        meta = dict(payload.meta)
        entries = [{**entry, "shape": tuple(entry["shape"])} for entry in meta["parameters"]]
        plan = cls(
            network=meta["network"],
            current=meta["current"],
            parameters=tuple(ParameterPlan(**entry) for entry in entries),
            scaling=meta["scaling"],
            chosen=meta["chosen"],
            loss=meta["loss"],
            kappa=meta["kappa"],
            edge=meta["edge"],
            binding=meta["binding"],
            aspect_ratio=AspectRatio(**meta["aspect_ratio"]),
            correlation_length=meta["correlation_length"],
            notes=tuple(meta["notes"]),
            layers=meta.get("layers"),
        )
        plan._activations = activations
        return plan


def _check_not_negative(name: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")


def _plain(network: Network | dict[str, Any]) -> dict[str, Any]:
    return network.to_dict() if isinstance(network, Network) else network


def _rounded(value: float) -> float:
    """To twelve digits, so that equal settings are equal after arithmetic."""
    return float(f"{value:.12g}")
