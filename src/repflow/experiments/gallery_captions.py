"""What the pages say of each experiment beside its result: a heading, what to see, and which numbers matter most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from repflow.experiments.registry import Size
from repflow.reporting.experiment_page import Caption, plain_caption


@dataclass(frozen=True)
class _Entry:
    """A caption, the documentation's page, and seconds measured at default size on one processor."""

    page: str
    seconds: float
    caption: Caption


def _entry(page: str, seconds: float, title: str, see: str, key: Mapping[str, tuple[str | int, ...]]) -> _Entry:
    return _Entry(page, seconds, Caption(title, see, key))


# Seconds of other sizes relative to default: both are rough, and used until a gallery has measured its own.
_RELATIVE = {"small": 0.15, "default": 1.0, "large": 12.0}
_UNKNOWN = 60.0

_ENTRIES: dict[str, _Entry] = {
    "criticality": _entry(
        "claims/criticality.md",
        10.0,
        "Critical couplings at finite width",
        "Mean kernel of tanh networks over its infinite-width value at criticality, layer by layer. With the "
        "couplings corrected at order 1/n the points stay near 1; with those of infinite width they drift down. Lines"
        " are theory at order 1.",
        {
            "95% interval of the drift, corrected (within [−0.1, 0.1])": ("drift_corrected_interval",),
            "95% interval of the drift, uncorrected (outside)": ("drift_uncorrected_interval",),
            "C_W, corrected": ("C_W",),
        },
    ),
    "emergent-scale": _entry(
        "claims/depth-to-width.md",
        70.0,
        "One scale, L/n",
        "Left: at criticality networks of several widths lie on one curve in L/n for each activation, with the limit "
        "of deep and wide networks drawn through them. Right: off criticality each width has a plateau of its own, "
        "reached exponentially.",
        {
            "off criticality, n = 64 over n = 256 (not 1)": ("off_criticality", "ratio_interval"),
            "rate of approach over the predicted": ("off_criticality", "rate_over_predicted"),
            "correlation length, layers": ("off_criticality", "xi_parallel"),
        },
    ),
    "fluctuations": _entry(
        "claims/fluctuations.md",
        50.0,
        "How initialisations differ",
        "Above: the mean of G/K stays near 1, while its median and exp E[log G/K] fall exponentially in L/n: the mean"
        " is carried by few networks. Below: how far networks of one design spread, and the share of them that "
        "carries half of the mean. Lines are predictions.",
        {
            "relu, spread at L/n = 1 over the predicted": ("relu", "relative_to_predicted", "spread, late"),
            "tanh, spread at L/n = 1 over the predicted": ("tanh", "relative_to_predicted", "spread, late"),
            "relu, fall of the typical network over the predicted": (
                "relu",
                "relative_to_predicted",
                "typical network vanishes",
            ),
            "tanh, fall of the typical network over the predicted": (
                "tanh",
                "relative_to_predicted",
                "typical network vanishes",
            ),
        },
    ),
    "gaussian-limit": _entry(
        "claims/infinite-width.md",
        80.0,
        "Outputs become Gaussian",
        "Excess kurtosis of an output over initialisations against the width: the points fall along the fitted power "
        "of n, beside the prediction of order 1/n.",
        {
            "95% interval of the exponent (within [−1.05, −0.95])": ("slope_interval",),
            "coefficient of 1/n, fitted": ("amplitude",),
            "coefficient of 1/n, predicted": ("theory_coefficient",),
        },
    ),
    "hyperparameter-transfer": _entry(
        "claims/hyperparameters.md",
        160.0,
        "The best learning rate stays",
        "Loss after training against the learning rate, one curve a network, its minimum marked. On the left the "
        "minima lie at the dashed line, lr = 1.0; with the usual initialisations they move with depth and width.",
        {
            "drift of the best rate with rf.tune, octaves": ("drift_plan",),
            "with PyTorch's default": ("drift_default",),
            "with He's": ("drift_he",),
        },
    ),
    "memorisation": _entry(
        "memorisation.md",
        250.0,
        "Memorising labels",
        "All three data sets are learned by heart (left), true labels first; predicted curves are lines, measured "
        "ones points. Right: true labels lie on few eigenvectors of the NTK, shuffled and noise ones on all of them.",
        {
            "test accuracy, true labels": ("test_accuracy_true_interval",),
            "test accuracy, shuffled labels (chance is 0.1)": ("test_accuracy_shuffled_interval",),
            "steps of shuffled over true, predicted over measured": ("ratio_shuffled_fit_interval",),
            "steps of noise over true, predicted over measured": ("ratio_noise_fit_interval",),
        },
    ),
    "no-free-lunch": _entry(
        "no-free-lunch.md",
        150.0,
        "No free lunch",
        "Accuracy on images not seen, a learner a column and a family of labelings a row. In each row the learner "
        "that matches the family (framed) is best; averaged over all labelings, the last two rows, every learner is "
        "at 1/2.",
        {
            "all labelings: nearest neighbour": ("monte_carlo", "nearest neighbour", "interval"),
            "all labelings: network": ("monte_carlo", "network", "interval"),
            "labelings of 9 pixels": ("labelings", 8, "labelings"),
        },
    ),
    "optimal-aspect-ratio": _entry(
        "claims/optimal-aspect-ratio.md",
        80.0,
        "The optimal aspect ratio",
        "Loss after training at a fixed number of parameters, against L/n over its predicted optimum; the shaded "
        "range is a factor of 4 either way. Both minima lie in it, though the optima are predicted 7.5 times apart.",
        {
            "best L/n over the predicted, tanh (within [1/4, 4])": ("tanh_best_over_optimum_interval",),
            "best L/n over the predicted, relu": ("relu_best_over_optimum_interval",),
        },
    ),
    "parameter-sharing": _entry(
        "parameter-sharing.md",
        300.0,
        "Translation invariance is sharing",
        "Left: how many numbers a theory takes against its size, from generic (2^N) to translation-invariant (1). "
        "Right: test error of three networks of the same units; the one that shares its weights is best, most of all "
        "at positions not seen in training (dashed).",
        {
            "parameters, fully connected": ("parameters", "fully connected"),
            "parameters, locally connected": ("parameters", "locally connected"),
            "parameters, convolutional": ("parameters", "convolutional"),
        },
    ),
    "physics-learning": _entry(
        "physics-learning.md",
        160.0,
        "Learning a theory",
        "Left: error on configurations not seen, against experiments per parameter: it falls to 0 at 1 for sparse "
        "theories and stays at 1 for a generic one. Right: experiments that a sparse theory takes, the error of "
        "couplings learned from samples, and what sharing one coupling gains.",
        {
            "generic theory: error on the unseen (memorised)": ("memory_interval",),
            "exponent of the error in samples (−1/2)": ("ising_interval",),
            "exponent of the gain in links (1)": ("gain_interval",),
        },
    ),
    "representation-learning": _entry(
        "representation-learning.md",
        220.0,
        "Features move as 1/n",
        "Relative change of hidden kernels and of the NTK after 20 steps: it falls with the width as 1/n (left) and "
        "grows with depth (right). Lines are what dNTK and ddNTK predict at order 1/n, points are trained networks.",
        {
            "95% interval of the exponent in n (within [−1.1, −0.9])": ("slope_interval",),
            "95% interval of the exponent in L/n (above 0)": ("depth_slope_interval",),
        },
    ),
    "rg-flow": _entry(
        "relevance.md",
        20.0,
        "Infinite width is unstable",
        "First: the flow of K and V/(nK²), away from infinite width. Second: fluctuations grow as l at criticality "
        "and saturate off it. Third: a change of the kernel is kept by relu, forgotten as 1/l by tanh, and "
        "exponentially off criticality. Fourth: exponents on digits, sampled against predicted.",
        {
            "exponent of growth, relu (1)": ("relu", "growth_interval"),
            "exponent of growth, tanh (1)": ("tanh", "growth_interval"),
            "exponent of memory, tanh (−1)": ("tanh", "memory_interval"),
            "correlation length over the predicted": ("tanh off criticality", "xi_over_predicted"),
        },
    ),
    "sparsity": _entry(
        "sparsity.md",
        10.0,
        "Few couplings",
        "Numbers that the output distribution takes against the number of inputs: counted in arrays (crosses: flows, "
        "circles: networks drawn) and by formula (lines). Every order is a power of N, a general distribution is 2^N.",
        {
            "counts that equal the formula": ("counts_equal",),
            "of": ("counts",),
            "exponents of growth at order 0, 1, 2 (2, 4, 6)": ("growth_exponent",),
        },
    ),
    "spreading": _entry(
        "spreading.md",
        90.0,
        "Locality: light cones",
        "Left: a disturbance at one end of a chain spreads inside a cone; the front (points) is slower than the Lieb-"
        "Robinson bound (dashed). Right: the time to cover N spins grows as N in a local chain, not at all where all "
        "interactions are present.",
        {
            "exponent, local (within [0.85, 1.15])": ("exponents", "local", "interval"),
            "exponent, generic (within [−0.1, 0.1])": ("exponents", "generic", "interval"),
            "velocity of the front": ("velocity_interval",),
            "Lieb-Robinson velocity": ("lieb_robinson_velocity",),
        },
    ),
    "thermalisation": _entry(
        "thermalisation.md",
        100.0,
        "Complexity and thermalisation",
        "From the top left: a spin relaxes to its thermal value; few couplings in the basis of sites, 4^N in another;"
        " local observables approach those of random states as 2^(−N/2); the form factor takes 2^N periods to its "
        "plateau (next), far longer than local observables take; two states that differ in one spin stay "
        "distinguishable by a global observable alone.",
        {
            "slope of the two-site distance (−1/2)": ("two_site_slope_interval",),
            "slope of the plateau time (1)": ("plateau_slope_interval",),
            "two-site distance over that of Haar-random states": ("two_site_over_haar_interval",),
        },
    ),
    "universality": _entry(
        "claims/universality.md",
        10.0,
        "Universality",
        "Above: kernels and fluctuations of nine smooth activations run to one curve, with alpha taken out. Below: "
        "how fast each does so is its own Taylor coefficient, and sampled networks of four of them lie on the common "
        "limit.",
        {
            "spread over activations at layer 10,000": ("spread", "10000"),
            "exponent of the spread in log(L)/L (within [0.8, 1.2])": ("slope_against_log(L)/L",),
        },
    ),
}


def caption_of(name: str) -> Caption:
    """The caption of an experiment; a plain one where it has none here."""
    entry = _ENTRIES.get(name)
    return plain_caption(name) if entry is None else entry.caption


def page_of(name: str) -> str | None:
    """The documentation's page on an experiment, below ``docs/``."""
    entry = _ENTRIES.get(name)
    return None if entry is None else entry.page


def expected_seconds(name: str, size: Size) -> float:
    """About how long an experiment takes on one processor."""
    entry = _ENTRIES.get(name)
    return (_UNKNOWN if entry is None else entry.seconds) * _RELATIVE[size]
