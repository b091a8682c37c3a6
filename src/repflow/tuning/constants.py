"""The constants of the tuning rules that theory leaves open, in one place."""

from __future__ import annotations

#: kappa, the first step's total relative change of the hidden features, at the predicted best rate of SGD.
KAPPA_SGD = 1.2
#: The same for Adam, whose steps are signs.
KAPPA_ADAM = 3.0
#: Share of the largest stable rate at which kappa should reach KAPPA_SGD: it fixes s.
EDGE_SHARE = 0.25
#: The predicted rate is at most this many times the edge of stability.
EDGE_LIMIT = 1.5
#: Biases' share of the tangent kernel's largest eigenvalue relative to weights' (SGD): they feed the constant mode,
#: which learns nothing.
BIAS_SHARE = 1 / 64
#: Biases' step relative to weights' (Adam).
BIAS_STEP = 1 / 64
#: Share of the largest eigenvalue of the head's and of the input layer's weights relative to a hidden layer's (SGD).
HEAD_SHARE = 0.25
INPUT_SHARE = 1.0
#: The same of the steps under Adam; the head's step is relative to the size that the outputs have to reach.
HEAD_STEP = 0.5
INPUT_STEP = 0.5
#: Rows of the data that the theory looks at.
ROWS = 64
