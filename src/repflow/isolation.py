"""Looking at a module without touching it: a copy of its structure, and random number generators put back."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

#: Where ``nn.Module`` keeps hooks: a copy to be traced has none, so that nothing that they do is done twice.
_HOOKS = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Put the generators of torch, NumPy and ``random`` back as they were, also after an exception.

    A user's forward pass or activation may draw random numbers when it is traced or evaluated.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def bare_copy(module: nn.Module) -> nn.Module:
    """The module's structure in evaluation mode, with parameters shared, buffers copied, no hooks, nothing in place.

    Tracing runs the user's forward pass, which may count its calls or write to a buffer: it does that to the copy.

    Raises
    ------
    ValueError
        The module cannot be copied.
    """
    shared = {id(parameter): parameter for parameter in module.parameters()}
    hooks: dict[int, object] = {}
    for part in module.modules():
        for name in _HOOKS:
            held = part.__dict__.get(name)
            if held is not None:  # not copied: a hook may hold a file, a lock, or another model
                hooks[id(held)] = type(held)()
    try:
        twin = copy.deepcopy(module, {**shared, **hooks})
    except Exception as error:  # a user's class may raise anything from __deepcopy__
        raise ValueError(f"module {type(module).__name__} cannot be copied for tracing: {first_line(error)}") from error
    for part in twin.modules():
        part.training = False
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]
    return twin


def first_line(error: BaseException) -> str:
    """An exception's message without its continuation lines."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
