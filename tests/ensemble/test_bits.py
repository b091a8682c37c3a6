"""The same seed gives the same bits: any batch size, threads, interruption, checkpoint."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from repflow.activation import Activation, as_activation
from repflow.ensemble import sample
from repflow.network import Layer, Network

# Odd widths, biases, an activation whose vector and scalar code differ, and one input among the cases.
_CASES = [(3, "weights", "gelu"), (3, "gram", "gelu"), (1, "weights", "silu"), (1, "gram", "softplus")]


def _x(inputs: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((inputs, 7))


@pytest.mark.parametrize(("inputs", "method", "activation"), _CASES)
def test_batch_size_and_threads_change_no_bit(network, bits, inputs, method, activation):
    net = network([7, 13, 101, 1, 5, 3], activation, 1.3, 0.2)
    reference = bits(sample(net, _x(inputs), 1100, 3, method, threads=1))
    for batch_size, threads in ((1, 1), (7, 2), (1100, 1), (None, 3)):
        assert bits(sample(net, _x(inputs), 1100, 3, method, batch_size=batch_size, threads=threads)) == reference
    assert bits(sample(net, _x(inputs), 1100, 4, method)) != reference


_SCRIPT = """
import hashlib, sys
import numpy as np, torch
from repflow.activation import as_activation
from repflow.ensemble import sample
from repflow.network import Layer, Network
sigma = as_activation("gelu")
widths = (16, 300, 257, 4)
net = Network(tuple(
    Layer(a, b, 1.1, 0.1, activation=sigma if i < 2 else None) for i, (a, b) in enumerate(zip(widths, widths[1:]))
))
if sys.argv[1] == "set":
    torch.set_num_threads(2)
for inputs in (1, 4, 20):
    x = np.random.default_rng(0).standard_normal((inputs, 16))
    for method, count, tangent in (("weights", 40, False), ("gram", 80, False), ("weights", 3, True)):
        if tangent and inputs > 4:
            continue
        state = sample(net, x, count, 1, method, tangent=tangent, six_point=[]).state
        print(hashlib.sha256(b"".join(g.tobytes() for g in state.groups) + state.histogram.tobytes()).hexdigest())
"""


def test_one_and_two_threads_in_processes_of_their_own():
    running = []
    for threads, how in (("1", "leave"), ("2", "leave"), ("1", "set")):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, threads)}
        command = [sys.executable, "-c", _SCRIPT, how]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=120)[0].split() for process in running]
    assert len(outputs[0]) == 8
    assert outputs[0] == outputs[1] == outputs[2]


def test_thread_settings_are_left_alone(network):
    before = torch.get_num_threads(), torch.get_default_dtype()
    sample(network([7, 4, 2]), _x(2), 10, threads=2)
    assert (torch.get_num_threads(), torch.get_default_dtype()) == before


def _interrupting(after: int) -> Network:
    """A network whose activation presses Ctrl-C at its ``after``-th call; the first is the pilot's."""
    calls = 0
    inner = as_activation("tanh")

    def sigma(z: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt
        return inner(z)

    broken = Activation("tanh", sigma)
    return Network((Layer(7, 5, activation=broken), Layer(5, 5, activation=broken), Layer(5, 2)))


@pytest.mark.parametrize("method", ["weights", "gram"])
def test_interruption_gives_a_shorter_run(network, bits, method):
    whole = network([7, 5, 5, 2])
    # two activated layers, the pilot first: blocks 0, 1 and 2 are complete when the ninth call fails
    stopped = sample(_interrupting(8), _x(2), 10_000, 1, method, threads=1)
    assert stopped.interrupted
    assert stopped.state.blocks == 3
    assert stopped.networks == 3 * 1024
    again = sample(whole, _x(2), stopped.networks, 1, method)
    assert not again.interrupted
    assert bits(again) == bits(stopped)


def test_interruption_before_the_first_block_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        sample(_interrupting(2), _x(2), 10_000, 1, threads=1)


def test_interruption_after_a_merge_of_groups(network, bits):
    # 1024 groups are kept, 32 a block: beyond 32 blocks they merge
    stopped = sample(_interrupting(2 + 2 * 35), _x(2), 10**6, 1, "gram", threads=1)
    assert stopped.state.blocks == 35
    assert stopped.state.level == 1
    assert bits(sample(network([7, 5, 5, 2]), _x(2), stopped.networks, 1, "gram")) == bits(stopped)


@pytest.mark.parametrize(("method", "networks"), [("weights", 4000), ("gram", 4096)])
def test_checkpoint_resumes_bit_for_bit(network, bits, tmp_path: Path, method, networks):
    file = tmp_path / "run.npz"
    net = network([7, 5, 5, 2])
    reference = bits(sample(net, _x(2), networks, 1, method))
    stopped = sample(_interrupting(6), _x(2), networks, 1, method, threads=1, checkpoint=file)
    assert stopped.interrupted
    assert stopped.networks < networks
    resumed = sample(net, _x(2), networks, 1, method, checkpoint=file)
    assert bits(resumed) == reference
    assert not resumed.interrupted
    # once more from the finished file, and on to a larger number
    assert bits(sample(net, _x(2), networks, 1, method, checkpoint=file)) == reference
    longer = sample(net, _x(2), networks + 300, 1, method, checkpoint=file)
    assert bits(longer) == bits(sample(net, _x(2), networks + 300, 1, method))


def test_checkpoint_resumes_without_drawing_again(network, tmp_path: Path):
    file = tmp_path / "run.npz"
    sample(network([7, 5, 5, 2]), _x(2), 2048, 1, checkpoint=file)
    # the pilot's two calls are all that a finished run needs
    assert sample(_interrupting(2), _x(2), 2048, 1, checkpoint=file).networks == 2048


def test_checkpoint_refuses_another_configuration(network, tmp_path: Path):
    file = tmp_path / "run.npz"
    net = network([7, 5, 2])
    sample(net, _x(2), 1024, 1, checkpoint=file)
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"another configuration: seed \(1 there, 2 asked\)"):
        sample(net, _x(2), 1024, 2, checkpoint=file)
    with pytest.raises(ValueError, match="configuration: method"):
        sample(net, _x(2), 1024, 1, "gram", checkpoint=file)
    with pytest.raises(ValueError, match="configuration: x "):
        sample(net, _x(2) + 1e-15, 1024, 1, checkpoint=file)
    with pytest.raises(ValueError, match="configuration: network "):
        sample(network([7, 5, 2], C_W=1.1), _x(2), 1024, 1, checkpoint=file)
    with pytest.raises(ValueError, match="configuration: widths"):
        sample(network([7, 6, 2]), _x(2), 1024, 1, checkpoint=file)
    with pytest.raises(ValueError, match="configuration: six_point"):
        sample(net, _x(2), 1024, 1, checkpoint=file, six_point=[(0,) * 6])
    with pytest.raises(ValueError, match="holds 1024 networks, networks=300 asks for fewer"):
        sample(net, _x(2), 300, 1, checkpoint=file)
    with pytest.raises(ValueError, match="checkpoint: the directory"):
        sample(net, _x(2), 300, 1, checkpoint=tmp_path / "none" / "run.npz")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_ensembles_of_two_widths_with_one_seed_are_independent(network):
    first, second = (
        sample(network([7, n, 2], "identity"), _x(1), 2000, 1, six_point=[]).layers[1].sums.by_group["first"][:, 0]
        for n in (8, 16)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(len(first))


@pytest.mark.parametrize(
    ("inputs", "activation", "differentials"), [(3, "gelu", True), (1, "silu", True), (2, "relu", False)]
)
def test_the_tangent_kernel_changes_no_bit(network, bits, inputs, activation, differentials):
    net = network([7, 13, 33, 1, 5, 3], activation, 1.3, 0.2)
    options = {"tangent": True, "differentials": differentials}
    reference = bits(sample(net, _x(inputs), 300, 3, threads=1, **options))
    for batch_size, threads in ((1, 1), (7, 2), (300, 1), (None, 3)):
        assert bits(sample(net, _x(inputs), 300, 3, batch_size=batch_size, threads=threads, **options)) == reference


def test_a_checkpoint_of_the_tangent_kernel_resumes_bit_for_bit(network, bits, tmp_path: Path):
    file = tmp_path / "run.npz"
    net = network([7, 5, 5, 2])
    options = {"tangent": True, "differentials": True}
    reference = bits(sample(net, _x(2), 2500, 1, **options))
    sample(net, _x(2), 2048, 1, checkpoint=file, **options)
    assert bits(sample(net, _x(2), 2500, 1, checkpoint=file, **options)) == reference
    with pytest.raises(ValueError, match=r"another configuration: .*differentials \(True there, None asked\)"):
        sample(net, _x(2), 2500, 1, checkpoint=file)
