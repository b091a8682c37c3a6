"""Losses of many networks at once, one number for each."""

from __future__ import annotations

from torch import Tensor

#: Names that ``loss`` takes.
LOSSES = ("mse", "mse_mean", "cross_entropy")


def loss_of(name: str, f: Tensor, targets: Tensor) -> Tensor:
    """The loss of each of R networks, averaged over rows.

    Parameters
    ----------
    name
        ``"mse"`` is (1/2B) sum |f - y|^2, ``"mse_mean"`` is ``nn.MSELoss``, ``"cross_entropy"`` is
        ``nn.CrossEntropyLoss``.
    f
        Outputs, shape (R, B, n_L).
    targets
        Values, or probabilities for cross-entropy; of the same shape, or (B, n_L) for all networks.

    Returns
    -------
    Tensor
        Shape (R,).

    Raises
    ------
    ValueError
        The name is unknown.
    """
    if name == "mse":
        return 0.5 * ((f - targets) ** 2).sum(-1).mean(-1)
    if name == "mse_mean":
        return ((f - targets) ** 2).mean((-2, -1))
    if name == "cross_entropy":
        return -(targets * f.log_softmax(-1)).sum(-1).mean(-1)
    raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
