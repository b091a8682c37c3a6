"""How the kernels of real networks change in training: an ensemble of them, trained together, measured twice.

Every network is drawn, trained by full-batch gradient descent on (1/2B) sum |f - y|^2 and measured again; the change
is averaged over networks. Nothing of the theory enters here.

Networks come in pairs that differ by the sign of the head alone, so that f is odd under the exchange. What is odd in
the head, most of a single network's change, cancels within a pair, and what is left is the mean with less noise.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repflow.blocks import check_seed, generator, progress_bar, run_blocks
from repflow.network import Network
from repflow.training.full_batch import Stack, gradient_step, hidden_kernels, mean_tangent_kernel, outputs_of

FloatArray = NDArray[np.float64]

#: Weights of one block: some megabytes, so that a step's three passes over them stay near the cache.
_BLOCK_WEIGHTS = 1 << 19
_BLOCK_PAIRS = 256
#: What the seeds of these streams are told apart by from other uses of one seed.
_STREAM = 20_211


@dataclass(frozen=True)
class KernelChange:
    """The mean change of the kernels over an ensemble of trained networks.

    Attributes
    ----------
    kernels
        Mean change of (1/n_l) sum_k z_k;a z_k;b in hidden layers l = 1..L-1, shape (L - 1, N, N).
    ntk
        Mean change of (1/n_L) sum_i H_ii;ab at the output, shape (N, N).
    covariance
        Of the means, over the flattened (kernels, ntk) in this order, shape (L N^2, L N^2).
    loss
        Mean loss before and after.
    networks
        Networks measured, two a pair.
    diverged
        Networks left out, with their partners, since a number was not finite after training.
    """

    kernels: FloatArray
    ntk: FloatArray
    covariance: FloatArray
    loss: tuple[float, float]
    networks: int
    diverged: int

    @property
    def kernels_stderr(self) -> FloatArray:
        """Standard errors of ``kernels``."""
        return self._stderr()[:-1]

    @property
    def ntk_stderr(self) -> FloatArray:
        """Standard errors of ``ntk``."""
        return self._stderr()[-1]

    def norms(self) -> tuple[FloatArray, FloatArray]:
        """Frobenius norms of the changes, hidden layers first and the NTK last, and their standard errors; (L,) each.

        The error is that of the component along the mean change; the norm of pure noise is its bias, which is taken off
        in the square.
        """
        means = np.concatenate([self.kernels, self.ntk[None]]).reshape(len(self.kernels) + 1, -1)
        size = means.shape[1]
        norms, errors = np.empty(len(means)), np.empty(len(means))
        for number, mean in enumerate(means):
            own = self.covariance[number * size : (number + 1) * size, number * size : (number + 1) * size]
            square = float(mean @ mean)
            norms[number] = np.sqrt(max(square - np.trace(own), 0.0))
            errors[number] = np.sqrt(mean @ own @ mean / square) if square > 0 else 0.0
        return norms, errors

    def _stderr(self) -> FloatArray:
        shape = (len(self.kernels) + 1, *self.ntk.shape)
        return np.asarray(np.sqrt(np.clip(self.covariance.diagonal(), 0.0, None)).reshape(shape))


@dataclass
class _Sums:
    """What blocks add up to: pairs kept and left out, and first and second moments about zero."""

    pairs: int
    lost: int
    first: FloatArray
    second: FloatArray
    losses: FloatArray

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.pairs + other.pairs,
            self.lost + other.lost,
            self.first + other.first,
            self.second + other.second,
            self.losses + other.losses,
        )


def kernel_change(
    network: Network,
    x: FloatArray,
    y: FloatArray | None,
    *,
    learning_rate: float,
    steps: int,
    networks: int,
    seed: int = 0,
    progress: bool | None = None,
) -> KernelChange:
    """Train an ensemble of real networks and measure how their kernels change.

    Parameters
    ----------
    network
        The network; its couplings draw the weights, its factors lambda scale each group's rate.
    x, y
        The batch, shape (N, n_0), and its targets, shape (N, n_L); without targets every pair of networks gets one-hot
        targets of its own, a random class an input.
    learning_rate, steps
        Of full-batch gradient descent on (1/2N) sum |f - y|^2: weights move at learning_rate lambda_W/n_{l-1}, biases
        at learning_rate lambda_b.
    networks
        An even number, 4 or more.
    seed
        Seed of all draws. The same seed gives the same draws whatever the number of networks.
    progress
        Whether to show a progress bar on stderr; None: only on a terminal.

    Raises
    ------
    ValueError
        ``networks`` is odd or too few, or fewer than two pairs stayed finite in training.
    """
    seed = check_seed(seed)
    if networks < 4 or networks % 2:
        raise ValueError(f"networks must be an even number of 4 or more (pairs of opposite heads), got {networks!r}")
    weights = sum(layer.n_in * layer.n_out for layer in network.layers)
    block = int(min(_BLOCK_PAIRS, max(8, _BLOCK_WEIGHTS // (2 * weights))))
    pairs = networks // 2
    blocks = -(-pairs // block)
    batch = _span(x)
    sums: list[_Sums] = []

    def work(number: int) -> _Sums:
        count = min(block, pairs - number * block)
        return _measure(network, batch, y, learning_rate, steps, seed, number, count)

    def absorb(found: _Sums) -> None:
        sums[:] = [found if not sums else sums[0] + found]

    with progress_bar(progress, "networks trained", blocks) as told:
        complete = run_blocks(work, absorb, blocks, threads=_threads(), on_block=lambda done, _: told(done))
    if not complete:
        raise KeyboardInterrupt
    return _result(sums[0], network.depth, len(x))


def _threads() -> int:
    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1))


def _span(x: FloatArray) -> FloatArray:
    """The inputs in an orthonormal basis of what they span: N coordinates at most.

    Gaussian weights are the same in every basis, and gradients do not leave the span.
    """
    if x.shape[1] <= len(x):
        return x
    return np.ascontiguousarray(np.linalg.qr(x.T)[1].T)


def _measure(
    network: Network,
    x: FloatArray,
    y: FloatArray | None,
    learning_rate: float,
    steps: int,
    seed: int,
    block: int,
    count: int,
) -> _Sums:
    """Draw ``count`` pairs, train them, and sum up what changed."""
    batch = torch.from_numpy(x)
    stack = _draw(network, x.shape[1], seed, block, count)
    targets = torch.from_numpy(_targets(y, len(x), network.widths[-1], seed, block, count))
    before, first_loss = _kernels(stack, batch), _losses(stack, batch, targets)
    for _ in range(steps):
        gradient_step(stack, batch, targets, learning_rate)
    change = (_kernels(stack, batch) - before).numpy().reshape(2 * count, -1)
    losses = np.stack([first_loss.numpy(), _losses(stack, batch, targets).numpy()], axis=1)
    finite = np.isfinite(change).all(1) & np.isfinite(losses).all(1)
    kept = finite[:count] & finite[count:]
    mean = 0.5 * (change[:count] + change[count:])[kept]
    loss = 0.5 * (losses[:count] + losses[count:])[kept]
    return _Sums(int(kept.sum()), int((~kept).sum()), mean.sum(0), mean.T @ mean, loss.sum(0))


def _draw(network: Network, n_in: int, seed: int, block: int, count: int) -> Stack:
    """The networks of a block: those of even heads first, their partners after them."""
    weights, biases = [], []
    for number, layer in enumerate(network.layers):
        fan_in = n_in if number == 0 else layer.n_in
        drawn = generator(seed, _STREAM, block, number, 0).standard_normal((count, layer.n_out, fan_in))
        w = torch.from_numpy(drawn * np.sqrt(layer.C_W / layer.n_in))
        b = torch.from_numpy(
            generator(seed, _STREAM, block, number, 1).standard_normal((count, layer.n_out)) * np.sqrt(layer.C_b)
        )
        sign = -1.0 if number == network.depth - 1 else 1.0
        weights.append(torch.cat([w, sign * w]))
        biases.append(torch.cat([b, sign * b]))
    return Stack(network.layers, weights, biases)


def _targets(y: FloatArray | None, n: int, outputs: int, seed: int, block: int, count: int) -> FloatArray:
    if y is not None:
        return np.ascontiguousarray(y, dtype=np.float64)
    classes = generator(seed, _STREAM, block, 0, 2).integers(outputs, size=(count, n))
    return np.tile(np.eye(outputs)[classes], (2, 1, 1))


def _kernels(stack: Stack, x: Tensor) -> Tensor:
    """Hidden kernels and, last, the mean NTK of each network, shape (R, L, N, N)."""
    return torch.cat([hidden_kernels(stack, x), mean_tangent_kernel(stack, x)[:, None]], dim=1)


def _losses(stack: Stack, x: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * ((outputs_of(stack, x) - targets) ** 2).sum(-1).mean(-1)


def _result(sums: _Sums, depth: int, n: int) -> KernelChange:
    if sums.pairs < 2:
        raise ValueError("learning_rate is too large: all but one pair of networks overflowed in training")
    mean = sums.first / sums.pairs
    spread = (sums.second / sums.pairs - np.outer(mean, mean)) / (sums.pairs - 1)
    changes = mean.reshape(depth, n, n)
    first, last = (float(value) for value in sums.losses / sums.pairs)
    return KernelChange(changes[:-1], changes[-1], spread, (first, last), 2 * sums.pairs, 2 * sums.lost)
