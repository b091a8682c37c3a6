"""Models inside the wrappers that training puts around them: compiled, replicated, averaged, sharded.

A wrapper changes the names of parameters, or splits their values over processes, and nothing of the theory: a plan made
for the bare model applies to the wrapped one.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.weight_norm import WeightNorm

from repflow.wrappers import INNER, unwrapped


def whole(model: nn.Module) -> nn.Module:
    """The model without wrappers, if its parameters lie in this process.

    Raises
    ------
    ValueError
        The model is sharded, or its weights are rewritten before every call by the older ``weight_norm``: theory reads
        weights, and such a module cannot be copied.
    """
    model = unwrapped(model)
    if isinstance(model, nn.Module):
        for path, module in model.named_modules():
            _check_readable(path, module)
        for name, parameter in model.named_parameters():
            if hasattr(parameter, "device_mesh"):
                raise ValueError(
                    f"model is sharded over processes (parameter {name!r} is a DTensor): tune it before fully_shard, "
                    "the plan then applies to the sharded model"
                )
    return model


def _check_readable(path: str, module: nn.Module) -> None:
    """ValueError for a module that holds its weights in a form of its own."""
    if type(module).__name__ == "FullyShardedDataParallel":  # imported by who uses it, and slow to import
        raise ValueError(
            f"model holds its parameters in flat shards (module {path or 'model'!r} is a FullyShardedDataParallel): "
            "tune the bare model and draw its weights, then wrap; with torch.distributed.fsdp.fully_shard the plan "
            "applies to the sharded model too"
        )
    if any(isinstance(hook, WeightNorm) for hook in module._forward_pre_hooks.values()):
        raise ValueError(
            f"module {path or 'model'!r} has its weight rewritten before each call by torch.nn.utils.weight_norm: "
            "take torch.nn.utils.parametrizations.weight_norm, or tune the model before applying it"
        )


def parameters_by_name(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter under each of its names, as they are without wrappers."""
    return {
        ".".join(part for part in name.split(".") if part not in INNER): parameter
        for name, parameter in unwrapped(model).named_parameters(remove_duplicate=False)
    }


def overwrite(parameter: Tensor, values: Tensor) -> None:
    """Copy whole values into a parameter, each process its own part where it is sharded.

    A sharded parameter (``torch.distributed.fsdp.fully_shard``) takes the values of the first process of its mesh, so
    that the parts belong together even where the processes' generators differ: every process has to call this.
    """
    if hasattr(parameter, "device_mesh"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(parameter, DTensor)
        values = distribute_tensor(values, parameter.device_mesh, parameter.placements)
    parameter.copy_(values)
