"""Looking through the wrappers that training puts around a model: compiled, replicated, averaged, checkpointed."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

#: Classes that hold the model as ``module`` and do nothing but run it.
_HOLDERS = (DistributedDataParallel, nn.DataParallel, AveragedModel)
#: Names that only torch's wrappers give to what they hold: ``torch.compile`` and activation checkpointing.
INNER = ("_orig_mod", "_checkpoint_wrapped_module")


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside ``torch.compile``, ``DistributedDataParallel``, ``DataParallel`` and ``AveragedModel``.

    Anything else comes back as it is.
    """
    while isinstance(model, nn.Module):
        held = model._modules.get("module") if isinstance(model, _HOLDERS) else None
        for name in INNER:
            held = held or model._modules.get(name)
        if held is None:
            break
        model = held
    return model
