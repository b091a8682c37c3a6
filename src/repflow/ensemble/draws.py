"""``gram_draws``: the Gram matrices of the networks themselves, for what is no average: medians, histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from repflow.blocks import check_seed, progress_bar, require_memory, run_blocks
from repflow.ensemble import gram
from repflow.ensemble.arithmetic import Array
from repflow.ensemble.checks import check_count, check_inputs
from repflow.ensemble.setup import Setup, gram_one, sizes, stream_of
from repflow.network import Network


def gram_draws(
    network: Network,
    x: Any,
    networks: int = 10_000,
    seed: int = 0,
    layers: Sequence[int] | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Array:
    """Draw random networks by the chain of Gram matrices and keep the matrices.

    ``sample`` keeps averages only. What is no average needs the draws: the median over networks, E[log G], a histogram.
    Bits do not depend on ``threads``.

    Parameters
    ----------
    network
        Its couplings are those of the ensemble.
    x
        Inputs, shape (N, n_0), NumPy or torch.
    networks
        How many.
    seed
        Whole number of 0 or more. The same networks as ``sample(..., method="gram")`` draws with that seed.
    layers
        Layers from 1 to L, or negative from the output, whose matrices are kept; None: the output's alone.
    threads
        Blocks that run at once; None takes ``torch.get_num_threads()``. Speed only.
    progress
        Whether to show a progress bar on stderr; None shows one where stderr is a terminal.

    Returns
    -------
    ndarray
        G^(l) of each layer and network, shape (len(layers), networks, N, N). They may overflow to infinity.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong.
    MemoryError
        The matrices would not fit.
    KeyboardInterrupt
        Ctrl-C: nothing partial is returned.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a repflow Network, got {type(network).__name__}; rf.mlp makes one")
    inputs = check_inputs(x, network)
    networks = check_count("networks", networks)
    seed = check_seed(seed)
    threads = torch.get_num_threads() if threads is None else check_count("threads", threads)
    kept = _layers(layers, network.depth)
    n = len(inputs)
    cut = sizes(network, n, "gram", 0, None, networks, threads)
    require_memory(
        8 * len(kept) * networks * n**2 + 40 * threads * cut.block * n * max(network.widths),
        f"gram_draws: {networks} matrices of {n} inputs in {len(kept)} layers",
        "keep fewer layers or draw fewer networks",
    )
    setup = Setup(network, inputs, seed, gram_one(network, inputs), stream_of("gram", network, n))
    found = np.empty((len(kept), networks, n, n))
    blocks = -(-networks // cut.block)

    def work(block: int) -> int:
        count = min(cut.block, networks - block * cut.block)
        draws = gram.streams(setup, block)
        start = block * cut.block
        with np.errstate(all="ignore"):
            for first in range(0, count, cut.batch):
                some = min(cut.batch, count - first)
                here = slice(start + first, start + first + some)
                for number, (matrix, _) in enumerate(gram.propagate(setup, draws, some), start=1):
                    for place, layer in enumerate(kept):
                        if layer == number:
                            found[place, here] = matrix
        return count

    with progress_bar(progress, "networks (gram)", networks) as show:
        complete = run_blocks(
            work,
            lambda count: None,
            blocks,
            threads=threads,
            on_block=lambda done, total: show(min(done * cut.block, networks)),
        )
    if not complete:
        raise KeyboardInterrupt
    return found


def _layers(layers: Sequence[int] | None, depth: int) -> list[int]:
    """Layer numbers from 1 on."""
    kept = []
    for layer in [depth] if layers is None else layers:
        if isinstance(layer, bool) or not isinstance(layer, (int, np.integer)):
            raise TypeError(f"layers must hold whole numbers, got {layer!r}")
        if layer == 0 or not -depth <= layer <= depth:
            raise ValueError(f"layers must be 1 to {depth}, or -1 to -{depth} from the output, got {layer}")
        kept.append(int(layer) if layer > 0 else depth + 1 + int(layer))
    if not kept:
        raise ValueError("layers must hold one number or more")
    return kept
