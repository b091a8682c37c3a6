"""The constants of the tuning rules that theory leaves open, in one place.

All but EDGE_SHARE were tuned on the digits with networks of at most 5 hidden layers of at most 64 neurons (tanh, relu
and gelu; 200 steps of batch 100): round numbers near the minimum of the geometric mean of the loss over those cells.
Networks as shallow as that do not see EDGE_SHARE (s = 1 for all of them): it comes from trials of deeper ones.
docs/tuning-rates.md has the losses that the constants give.
"""

from __future__ import annotations

#: kappa at the predicted best rate of SGD: the relative change of the hidden features in the first step, of each layer
#: with all below it, root of the sum of squares over layers.
KAPPA_SGD = 1.5
#: The same for Adam, whose steps are signs, taken as coherent.
KAPPA_ADAM = 3.0
#: Cross-entropy's share of KAPPA_SGD.
CROSS_ENTROPY_SHARE = 0.25
#: With momentum m the rate is (1 - m)^MOMENTUM_POWER times the rate without: 1 keeps the rate that many steps add up
#: to, 0 that of the first step.
MOMENTUM_POWER = 0.5
#: Share of the largest stable rate at which kappa should reach KAPPA_SGD: it fixes s.
EDGE_SHARE = 0.25
#: The predicted rate is at most this many times the edge of stability, above which the loss first grows: networks that
#: learn features then move to flatter ground, up to twice the edge (Lewkowycz et al. 2003.02218).
EDGE_LIMIT = 1.5
#: Share of the tangent kernel's largest eigenvalue relative to a hidden layer's weights (SGD). Biases feed the
#: constant mode, which learns nothing.
BIAS_SHARE = 1 / 16
HEAD_SHARE = 0.5
#: Step of the biases relative to weights' (Adam).
BIAS_STEP = 1 / 32
#: Step of the head relative to the size that the outputs have to reach, over KAPPA_ADAM/L (Adam).
HEAD_STEP = 0.7
#: Rows of the data that the theory looks at.
ROWS = 64
