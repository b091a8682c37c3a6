"""Two processes on one machine: DistributedDataParallel and FSDP2 train as one process does on the joint batch."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tests.integration import ranks
from tests.integration.setting import data, generator, make, rates, train, values

import repflow as rf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this torch has no gloo"),
]


def run(job, folder):
    mp.spawn(job, (str(folder),), nprocs=ranks.WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(ranks.WORLD)]


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    return run(ranks.replicated, tmp_path_factory.mktemp("replicated"))


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    return run(ranks.sharded, tmp_path_factory.mktemp("sharded"))


@pytest.fixture(scope="module")
def alone():
    """One process, all rows: the weights at the start and at the end, and the rates."""
    x, y = data()
    model = make()
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    start = values(model)
    groups = plan.param_groups(model)
    losses = train(model, torch.optim.SGD(groups), x, y, ranks.STEPS)
    assert losses[-1] < 0.7 * losses[0]
    adam_model = plan.initialize_(make(), generator())
    adam = torch.optim.AdamW(plan.param_groups(adam_model, optimizer="adamw", weight_decay=0.1))
    return {
        "start": start,
        "end": values(model),
        "rates": rates(groups, model),
        "adamw losses": train(adam_model, adam, x, y, ranks.STEPS),
    }


def equal(a, b):
    return all(map(torch.equal, a, b))


def close(a, b):
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


def test_ddp_takes_the_plan_of_the_model_inside(replicated, alone):
    for found in replicated:
        assert all(name.startswith("module.") for name in found["names"])
        assert found["same plan"]
        assert found["rates"] == alone["rates"]
        assert found["compiled rates"] == alone["rates"]


def test_ddp_has_the_same_weights_on_both_ranks(replicated, alone):
    first, second = replicated
    assert equal(first["start"], alone["start"])
    assert equal(second["start"], alone["start"])
    assert equal(first["end"], second["end"])
    # draws of their own, wrapped afterwards
    assert not equal(first["own draw"], second["own draw"])
    assert equal(first["broadcast"], first["own draw"])
    assert equal(second["broadcast"], first["own draw"])


def test_ddp_trains_as_one_process_on_the_joint_batch(replicated, alone):
    close(replicated[0]["end"], alone["end"])


def test_fsdp_rates_are_those_of_the_whole_model(sharded, alone):
    for found in sharded:
        assert found["rates before"] == alone["rates"]
        assert found["rates after"] == alone["rates"]
        # why groups are to be made after sharding: fully_shard puts other parameters in place
        assert not any(found["early groups hold the model's parameters"])


def test_fsdp_initialises_each_part_of_the_same_draw(sharded, alone):
    first, second = sharded
    assert first["local shapes"][0] == (20, 6)
    for found in (first, second):
        assert equal(found["start"], alone["start"])
        assert equal(found["early"], alone["start"])
        assert equal(found["from meta"], alone["start"])


def test_fsdp_trains_as_one_process_on_the_joint_batch(sharded, alone):
    assert equal(sharded[0]["end"], sharded[1]["end"])
    close(sharded[0]["end"], alone["end"])
    for found in sharded:
        assert found["adamw losses"] == pytest.approx(alone["adamw losses"], rel=1e-7)


def test_fsdp_says_what_comes_first(sharded):
    for found in sharded:
        assert "tune it before fully_shard" in found["error"]
        assert "materialise the model first" in found["meta error"]
