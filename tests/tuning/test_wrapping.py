"""Wrappers are looked through, and nothing else is."""

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

import repflow as rf
from repflow.tuning.wrapping import overwrite, parameters_by_name, whole
from repflow.wrappers import unwrapped


def compiled(model):
    return torch.compile(model, backend="eager")


WRAPPERS = {
    "compiled": compiled,
    "parallel": nn.DataParallel,
    "compiled parallel": lambda model: compiled(nn.DataParallel(model)),
    "parallel compiled": lambda model: nn.DataParallel(compiled(model)),
    "checkpointed": checkpoint_wrapper,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_model_inside_and_its_names(name, model, x):
    wrapped = WRAPPERS[name](model)
    assert unwrapped(wrapped) is model
    assert whole(wrapped) is model
    found = parameters_by_name(wrapped)
    assert [(key, id(p)) for key, p in found.items()] == [(key, id(p)) for key, p in model.named_parameters()]
    plan = rf.tune(model, x)
    assert rf.tune(wrapped, x).to_json() == plan.to_json()
    assert [g["lr"] for g in plan.param_groups(wrapped)] == [g["lr"] for g in plan.param_groups(model)]


def test_an_average_is_a_model_of_its_own(model):
    average = AveragedModel(model)
    assert unwrapped(average) is average.module
    assert list(parameters_by_name(average)) == list(parameters_by_name(model))


def test_parts_may_be_wrapped(model):
    names = list(parameters_by_name(model))
    model[2] = compiled(model[2])
    model[4] = checkpoint_wrapper(model[4])
    assert list(parameters_by_name(model)) == names
    assert unwrapped(model) is model


def test_tied_parameters_keep_all_their_names(model):
    model[4].weight = model[2].weight
    found = parameters_by_name(compiled(model))
    assert found["4.weight"] is found["2.weight"]


class Holder(nn.Module):
    """A user's class whose one part is called ``module``: its name belongs to the model."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


def test_a_users_own_module_is_no_wrapper(model):
    holder = Holder(model)
    assert unwrapped(holder) is holder
    assert all(name.startswith("module.") for name in parameters_by_name(holder))


@pytest.mark.parametrize("thing", [None, {"a": 1}, "model"])
def test_anything_else_comes_back(thing):
    assert unwrapped(thing) is thing
    assert whole(thing) is thing


def test_overwriting_keeps_the_parameter(model):
    parameter, values = model[0].weight, torch.ones(40, 6)
    with torch.no_grad():
        overwrite(parameter, values)
    assert parameter is model[0].weight
    assert torch.equal(parameter.detach(), values)
    assert parameter.data_ptr() != values.data_ptr()


def test_the_older_weight_norm_names_its_remedy(x):
    with pytest.warns(FutureWarning):
        first = nn.utils.weight_norm(nn.Linear(6, 20))
    model = nn.Sequential(first, nn.Tanh(), nn.Linear(20, 2))
    with pytest.raises(ValueError, match=r"module '0' .*parametrizations\.weight_norm"):
        rf.tune(model, x)


def test_flat_shards_name_their_remedy(x, tmp_path):
    from torch import distributed
    from torch.distributed.fsdp import FullyShardedDataParallel

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 2))
        model[0] = FullyShardedDataParallel(model[0], device_id=torch.device("cpu"))
        with pytest.raises(ValueError, match=r"module '0' .*then wrap; .*fully_shard"):
            rf.tune(model, x)
        with pytest.raises(ValueError, match="module 'model'"):
            rf.tune(model[0], x)
    finally:
        distributed.destroy_process_group()
