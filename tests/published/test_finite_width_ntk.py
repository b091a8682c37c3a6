"""Guillen, Misof, Gerken, *Finite-Width Neural Tangent Kernels from Feynman Diagrams* (arXiv 2508.11522v4).

Figure 2: four-layer gelu network without biases, C_W = 1.98305826, two inputs; values read off the vector graphic's
coordinates by a public reproduction of the paper (good to about 1e-4). Section 5 and figure 3: the NTK's diagonal has no
correction for scale-invariant activations without biases, the off-diagonal has.
"""

from __future__ import annotations

import numpy as np
import pytest

import repflow as rf

INPUTS = np.array(
    [
        [0.6540248765053858, -1.3592788739383235, -0.3791179316445409, 0.34191025226280697],
        [-0.6786403121150224, -0.12161213502515096, 0.21716372787141658, -1.4709063616118982],
    ]
)


def test_figure_2_gelu():
    net = rf.mlp([4, 20, 20, 20, 1], activation="gelu", C_W=1.98305826, C_b=0.0, lambda_b=0.0)
    output = rf.flow(net, INPUTS, order=1, tangent=True)[-1]
    np.testing.assert_allclose(output.ntk[0], [1.7493, 0.1769], atol=1e-4)
    np.testing.assert_allclose(output.ntk_correction[0], [1.4144, -0.3246], atol=3e-4)


@pytest.mark.parametrize(("name", "C_W"), [("relu", 2.0), ("leaky_relu:0.2", 2 / 1.04), ("abs", 1.0), ("relu", 1.3)])
@pytest.mark.parametrize("C_b", [0.0, 0.3])
@pytest.mark.parametrize("widths", [(20, 20, 20), (5, 40, 11)])
def test_scale_invariant_diagonal_has_no_correction(name, C_W, C_b, widths):
    """The paper states it without biases; the argument (sigma(z)^2 and sigma'(z)^2 are even parts of z^2 and of 1)
    holds with them.
    """
    net = rf.mlp([4, *widths, 2], activation=name, C_W=C_W, C_b=C_b)
    for layer in list(rf.flow(net, INPUTS, order=1, tangent=True))[2:]:
        scale = float(layer.ntk.diagonal().max())
        assert float(layer.ntk_correction.diagonal().abs().max()) < 1e-9 * scale
        assert abs(float(layer.ntk_correction[0, 1])) > 1e-3 * scale
