"""What each of two processes does in the tests of distributed training; results go to files, to be compared outside."""

from pathlib import Path

import torch
import torch.distributed as dist
from tests.integration.setting import data, generator, make, rates, train, values
from torch import nn

import repflow as rf

WORLD = 2
STEPS = 6


def _start(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)


def _mine(rank: int):
    """This process's half of the rows."""
    x, y = data()
    return x[rank::WORLD], y[rank::WORLD]


def replicated(rank: int, folder: str) -> None:
    """DistributedDataParallel."""
    _start(rank, folder)
    found = {}
    x, y = data()
    model = make()
    plan = rf.tune(model, x, y, loss="cross_entropy")
    wrapped = nn.parallel.DistributedDataParallel(model)
    found["names"] = [name for name, _ in wrapped.named_parameters()]
    found["same plan"] = rf.tune(wrapped, x, y, loss="cross_entropy").scaling == plan.scaling

    plan.initialize_(wrapped, generator())
    found["start"] = values(wrapped)
    groups = plan.param_groups(wrapped)
    found["rates"] = rates(groups, wrapped)
    train(wrapped, torch.optim.SGD(groups), *_mine(rank), STEPS)
    found["end"] = values(wrapped)

    # Without a generator the processes draw from generators of their own; the wrapper then takes the first one's.
    torch.manual_seed(100 + rank)
    other = plan.initialize_(make_after_seed(100 + rank))
    found["own draw"] = values(other)
    found["broadcast"] = values(nn.parallel.DistributedDataParallel(other))
    compiled = torch.compile(wrapped, backend="eager")
    found["compiled rates"] = rates(plan.param_groups(compiled), wrapped)
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def make_after_seed(seed: int) -> nn.Module:
    """The model, with the global generator at ``seed`` behind it."""
    model = make()
    torch.manual_seed(seed)
    return model


def _shard(model: nn.Sequential) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (WORLD,))
    for part in model:
        if isinstance(part, nn.Linear):
            fully_shard(part, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _whole(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.full_tensor().detach().clone() for parameter in model.parameters()]


def sharded(rank: int, folder: str) -> None:
    """FSDP2: ``fully_shard``."""
    _start(rank, folder)
    found = {}
    x, y = data()
    model = make()
    plan = rf.tune(model, x, y, loss="cross_entropy")
    before = plan.param_groups(model)
    found["rates before"] = rates(before, model)
    _shard(model)
    groups = plan.param_groups(model, optimizer="sgd")
    found["rates after"] = rates(groups, model)
    live = {id(parameter) for parameter in model.parameters()}
    found["early groups hold the model's parameters"] = [id(p) in live for g in before for p in g["params"]]

    # The second process's generator differs: the values of the first one count.
    plan.initialize_(model, generator(7 + rank))
    found["local shapes"] = [tuple(parameter.to_local().shape) for parameter in model.parameters()]
    found["start"] = _whole(model)
    train(model, torch.optim.SGD(groups), *_mine(rank), STEPS)
    found["end"] = _whole(model)
    try:
        rf.tune(model, x, y)
    except ValueError as error:
        found["error"] = str(error)

    # Initialised before sharding.
    early = plan.initialize_(make(), generator())
    found["early"] = _whole(_shard(early))

    # Planned and sharded without data, then made.
    empty = make(device="meta")
    ahead = rf.tune(empty, x, y, loss="cross_entropy")
    _shard(empty)
    try:
        ahead.initialize_(empty, generator())
    except ValueError as error:
        found["meta error"] = str(error)
    empty.to_empty(device="cpu")
    ahead.initialize_(empty, generator())
    found["from meta"] = _whole(empty)
    adam = torch.optim.AdamW(ahead.param_groups(empty, optimizer="adamw", weight_decay=0.1))
    found["adamw losses"] = train(empty, adam, x, y, STEPS)
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
