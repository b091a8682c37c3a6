"""``sample``: an ensemble of random networks, measured layer by layer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from repflow.blocks import Checkpoint, check_seed, digest, progress_bar, require_memory, run_blocks
from repflow.ensemble import gram, tangent_run, weights
from repflow.ensemble.accumulator import Accumulator, BlockSums
from repflow.ensemble.arithmetic import Array
from repflow.ensemble.checks import check_count, check_inputs
from repflow.ensemble.differentials import check_smooth
from repflow.ensemble.features import BlockRecord, moment_neurons, overflow_message
from repflow.ensemble.layout import Layout, check_sextuples
from repflow.ensemble.result import Ensemble
from repflow.ensemble.setup import Setup, gram_one, sizes, stream_of
from repflow.ensemble.tangent_features import TangentRecord
from repflow.ensemble.tangent_layout import TangentLayout
from repflow.network import Network

_METHODS: dict[str, Any] = {"weights": weights, "gram": gram}
# The pilot's stream: no run has this many blocks.
_PILOT_KEY = 1 << 40
_PILOT_NETWORKS = 32


def sample(
    network: Network,
    x: Any,
    networks: int = 10_000,
    seed: int = 0,
    method: str = "weights",
    batch_size: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    device: str | torch.device | None = None,
    six_point: Sequence[Sequence[int]] | None = None,
    threads: int | None = None,
    tangent: bool = False,
    differentials: bool = False,
) -> Ensemble:
    """Draw random networks and measure what their layers do with the inputs x.

    The same arguments give the same bits for any ``batch_size``, ``threads``, and interruption. Ctrl-C returns the
    whole blocks completed, with ``networks`` less than asked and ``interrupted`` set: bit for bit what a run of that
    many networks gives.

    Parameters
    ----------
    network
        The network whose couplings (C_W, C_b) the weights are drawn with; both are Gaussian.
    x
        Inputs, shape (N, n_0), NumPy or torch; taken to float64.
    networks
        How many networks to draw, 1 or more.
    seed
        Whole number of 0 or more.
    method
        ``"weights"`` draws weights and biases and runs the forward pass. ``"gram"`` simulates the same ensemble
        exactly without weights, as a chain of random Gram matrices: N n normals a layer in place of n^2.
    batch_size
        Networks held in memory at once; None chooses. Speed only.
    checkpoint
        A file that keeps the blocks completed, saved every few seconds and at the end. If it exists the run goes on
        from there; a file of another configuration is refused. ``networks`` may be larger than when it was written.
    progress
        Whether to show a progress bar on stderr; None shows one where stderr is a terminal.
    device
        Where products and activations run; None is the CPU. The promise on bits holds on the CPU.
    six_point
        Sextuples of input numbers (a, b, c, d, e, f) whose third cumulant of G_ab, G_cd, G_ef is measured. None: all
        for up to four inputs, none for more.
    threads
        Blocks that run at once; None takes ``torch.get_num_threads()``. Speed only.
    tangent
        Also measure the neural tangent kernel H of every network in every layer, by the exact recursion of
        :mod:`repflow.ensemble.tangent`: its mean and the statistics A, B, D, F. Method ``"weights"`` only, since H
        depends on the weights.
    differentials
        With ``tangent``: also the differentials of the NTK in the output layer, the statistics P, Q, R, S, T, U. They
        cost far more than the rest, and need smooth activations.

    Returns
    -------
    Ensemble
        Statistics with standard errors, layer by layer.

    Raises
    ------
    ValueError, TypeError
        An argument is wrong, the checkpoint does not match, or preactivations overflow.
    MemoryError
        The arrays would not fit in memory; the message holds the bytes needed.
    KeyboardInterrupt
        Ctrl-C before the first block was complete.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a repflow Network, got {type(network).__name__}; rf.mlp makes one")
    inputs = check_inputs(x, network)
    networks = check_count("networks", networks)
    seed = check_seed(seed)
    if not isinstance(method, str) or method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, _METHODS))}, got {method!r}")
    if batch_size is not None:
        batch_size = check_count("batch_size", batch_size)
    threads = torch.get_num_threads() if threads is None else check_count("threads", threads)
    place = _check_device(device)
    sextuples = check_sextuples(six_point, len(inputs))
    tangents = _check_tangent(tangent, differentials, method, len(inputs))
    if differentials:
        _check_differentials(network)
    cut = sizes(
        network, len(inputs), method, len(sextuples), batch_size, networks, threads, bool(tangent), bool(differentials)
    )
    require_memory(
        cut.bytes_needed,
        f"sample: the statistics of {len(inputs)} inputs in {network.depth} layers",
        "take fewer inputs, a smaller batch_size or fewer threads",
    )
    layout = Layout(len(inputs), sextuples)
    stream = stream_of(method, network, len(inputs))
    setup = Setup(network, inputs, seed, gram_one(network, inputs), stream, place)
    accumulator = Accumulator(cut.groups)
    file = None
    if checkpoint is not None:
        file = Checkpoint(checkpoint, _configuration(setup, method, sextuples, cut.block, tangents))
        saved = file.load()
        if saved is not None:
            accumulator.state = Accumulator.state_from(saved)
            if accumulator.networks > networks:
                raise ValueError(
                    f"checkpoint: it holds {accumulator.networks} networks, networks={networks} asks for fewer"
                )
    centre, scale = _pilot(setup, layout)
    ntk_centre = None if tangents is None else tangent_run.pilot(setup, tangents, _PILOT_KEY)
    engine = _METHODS[method]
    neurons = tuple(moment_neurons(width, len(inputs)) for width in network.widths[1:])
    blocks = -(-networks // cut.block)

    def work(block: int) -> BlockSums:
        record = BlockRecord(layout, centre, scale, neurons, min(cut.block, networks - block * cut.block))
        tangent_record = None
        if tangents is not None and ntk_centre is not None:
            tangent_record = TangentRecord(tangents, ntk_centre, record.networks)
        draws = engine.streams(setup, block)
        with np.errstate(all="ignore"):  # an overflow is found and named when the block is summed
            for first in range(0, record.networks, cut.batch):
                count = min(cut.batch, record.networks - first)
                if tangent_record is not None:
                    tangent_run.run_batch(setup, draws, first, count, record, tangent_record)
                    continue
                for layer, (gram_matrix, z) in enumerate(engine.propagate(setup, draws, count)):
                    record.add(layer, first, gram_matrix, z)
            sums, counts = record.sums()
            if tangent_record is not None:
                sums = np.concatenate([sums, tangent_record.sums(len(counts))], axis=2)
            return BlockSums(sums, counts, record.histogram())

    whole = networks // cut.block

    def save() -> None:
        # a last block of fewer networks is left out, so that the file can be continued to any number of networks
        if file is not None and 0 < accumulator.state.blocks <= whole:
            file.save(accumulator.arrays())

    with progress_bar(progress, f"networks ({method})", networks, accumulator.networks) as show:
        complete = run_blocks(
            work,
            accumulator.absorb,
            blocks,
            start=accumulator.state.blocks,
            threads=threads,
            save=save,
            on_block=lambda done, total: show(min(done * cut.block, networks)),
            before_last=save if networks % cut.block else None,
        )
    if not accumulator.state.blocks:
        raise KeyboardInterrupt
    return Ensemble(
        network=network,
        x=inputs,
        networks=accumulator.networks,
        seed=seed,
        method=method,
        interrupted=not complete,
        layout=layout,
        centre=centre,
        scale=scale,
        state=accumulator.state,
        tangents=tangents,
        ntk_centre=ntk_centre,
    )


def _pilot(setup: Setup, layout: Layout) -> tuple[Array, Array]:
    """Centre of G and unit of z for every layer, from a few gram chains of their own stream.

    Returns
    -------
    centre
        Shape (L, P). In layer 1, and wherever G does not fluctuate, it is G to the bit.
    scale
        Shape (L, N), 1 where z vanishes.
    """
    draws = gram.streams(setup, _PILOT_KEY)
    centre, scale = [], []
    with np.errstate(all="ignore"):
        for matrix, _ in gram.propagate(setup, draws, _PILOT_NETWORKS):
            mean = matrix[0] + (matrix - matrix[0]).mean(axis=0)
            centre.append(mean[layout.pair_a, layout.pair_b])
            unit = np.sqrt(np.diagonal(mean).clip(min=0.0))
            scale.append(np.where(unit > 0, unit, 1.0))
    if not np.isfinite(centre).all():
        layer = int(np.argmin(np.isfinite(centre).all(axis=1))) + 1
        raise ValueError(overflow_message(layer))
    return np.stack(centre), np.stack(scale)


def _configuration(
    setup: Setup, method: str, sextuples: tuple[Any, ...], block: int, tangents: TangentLayout | None
) -> dict[str, Any]:
    """What must agree for a checkpoint to be continued."""
    measured = {}
    if tangents is not None:
        measured = {"tangent": True, "differentials": tangents.differentials}
    return {
        "kind": "repflow ensemble 1",
        "widths": list(setup.network.widths),
        "network": setup.network.to_dict(),
        "x": digest(setup.x),
        "seed": setup.seed,
        "method": method,
        "six_point": [list(entry) for entry in sextuples],
        "block": block,
        "device": "cpu" if setup.device is None else str(setup.device),
        **measured,
    }


def _check_tangent(tangent: object, differentials: object, method: str, inputs: int) -> TangentLayout | None:
    """What to measure of the NTK; None for nothing."""
    for name, value in (("tangent", tangent), ("differentials", differentials)):
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {value!r}")
    if differentials and not tangent:
        raise ValueError("differentials=True needs tangent=True")
    if not tangent:
        return None
    if method != "weights":
        raise ValueError(
            f'tangent=True needs method="weights", got {method!r}: the NTK is a sum over weights, and method "gram" '
            "draws none"
        )
    return TangentLayout(inputs, bool(differentials))


def _check_differentials(network: Network) -> None:
    """Refuse a network without two outputs, since every differential is a statistic of two, or with kinks."""
    if network.widths[-1] < 2:
        raise ValueError("differentials=True measures pairs of outputs: the network needs two or more, got 1")
    check_smooth(network)


def _check_device(device: str | torch.device | None) -> torch.device | None:
    if device is None:
        return None
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ValueError(f"device: {device!r} is not available ({str(error).splitlines()[0]})") from error
    return None if place.type == "cpu" else place
