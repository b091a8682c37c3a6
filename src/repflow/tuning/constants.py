"""The constants of the tuning rules that theory leaves open, in one place.

Most come from ``benchmarks/constants.py``: a search on the digits with networks of at most 5 hidden layers of at most
64 neurons (tanh, relu and gelu; 200 steps of batch 100), rounded. Networks as shallow as that do not see EDGE_SHARE
(s = 1 for all of them): a quarter of the edge, as the first trials had it; nor EDGE_SHARE_HELD and GROWTH, whose
origin is said there. KAPPA_SGD_K_STAR_ZERO is from the search of the time when tanh was critical. docs/tuning-rates.md
has the losses that the constants give.
"""

from __future__ import annotations

#: kappa at the predicted best rate of SGD: the relative change of the hidden features in the first step, of each layer
#: with all below it, root of the sum of squares over layers; for scale-invariant activations.
KAPPA_SGD = 0.8
#: The same for the class K* = 0 where its kernel decays (and for activations without a critical point): they saturate.
KAPPA_SGD_K_STAR_ZERO = 0.55
#: The same for chains of that class, whose kernel is held.
KAPPA_SGD_HELD = 1.5
#: The same over the root of the number of hidden layers, whichever is smaller. Random labels on one hidden layer
#: diverge from 0.7 on.
LAYER_CHANGE_HELD = 0.5
#: The same for half-stable critical points.
KAPPA_SGD_HALF_STABLE = 1.5
#: The same for Adam, whose steps are signs, taken as coherent, of any class.
KAPPA_ADAM = 3.0
#: The same for chains of the class K* = 0, whose kernel is held.
KAPPA_ADAM_HELD = 2.4
#: How much the variance of differences between inputs may grow from the first hidden layer to the last where the
#: kernel is held: e^2, so that their size, and that of gradients on their way back, changes by e. Between 3 and 12 all
#: values did about as well with tanh at 10 x 64, 30 x 64 and 10 x 256.
GROWTH = 7.39
#: Probability of the right class at which the errors of cross-entropy count as gone: it sets how far the logits have to
#: go, and with that the head's scale.
CONFIDENCE = 0.997
#: Adam's steps with cross-entropy are smaller by the margin of its logits to this power.
MARGIN_POWER = 0.5
#: With momentum m the rate is (1 - m)^MOMENTUM_POWER times the rate without: 1 keeps the rate that many steps add up
#: to, 0 that of the first step.
MOMENTUM_POWER = 0.5
#: Share of the largest stable rate at which kappa should reach KAPPA_SGD: it fixes s.
EDGE_SHARE = 0.25
#: The same where the kernel is held, whose best rate is nearer to the edge: set with tanh at 30 x 64, as shallow
#: networks don't see it either.
EDGE_SHARE_HELD = 0.4
#: The predicted rate is at most this many times the edge of stability, above which the loss first grows: networks that
#: learn features then move to flatter ground, up to twice the edge (Lewkowycz et al. 2003.02218).
EDGE_LIMIT = 1.5
#: Share of the tangent kernel's largest eigenvalue relative to a hidden layer's weights (SGD). Biases feed the
#: constant mode, which learns nothing.
BIAS_SHARE = 1 / 32
HEAD_SHARE = 0.5
#: Step of the biases relative to weights' (Adam).
BIAS_STEP = 1 / 64
#: Step of the head relative to the size that the outputs have to reach, over KAPPA_ADAM/L (Adam).
HEAD_STEP = 0.5
#: Rows of the data that the theory looks at.
ROWS = 64
