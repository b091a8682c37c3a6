"""The distribution against exact ones: densities integrated, moments, marginals, draws, couplings."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

import repflow as rf
from repflow.distribution import GramCumulants, NeuralDistribution


def wishart(K, n, orders=2):
    """Cumulants of G = (1/n) sum of n outer products of N(0, K): the second layer of a linear network, exactly."""
    V = np.einsum("ac,bd->abcd", K, K) + np.einsum("ad,bc->abcd", K, K)
    N = len(K)
    # tr-type third cumulant: sum over the eight ways to close a ring through three pairs.
    X = np.zeros((N,) * 6)
    for flips in itertools.product((0, 1), repeat=3):
        (a, b), (c, d), (e, f) = ("ab"[:: 1 - 2 * flips[0]], "cd"[:: 1 - 2 * flips[1]], "ef"[:: 1 - 2 * flips[2]])
        X += np.einsum(f"{b}{c},{d}{e},{f}{a}->abcdef", K, K, K)
    t = torch.tensor
    values = {
        "kernel": t(K),
        "mean1": torch.zeros(N, N, dtype=torch.float64),
        "covariance1": t(V / n),
        "mean2": torch.zeros(N, N, dtype=torch.float64),
        "covariance2": torch.zeros((N,) * 4, dtype=torch.float64),
        "third": t(X / n**2),
    }
    kept = {0: 1, 1: 3, 2: 6}[orders]
    return GramCumulants(**dict(list(values.items())[:kept]))


def chi_square_layers(n, L, K=1.3):
    """G of one input after L linear layers of width n, K prod chi^2_n/n: exact cumulants as a series in 1/n."""
    # E G^2/K^2 = (1 + 2/n)^L, E G^3/K^3 = ((1 + 2/n)(1 + 4/n))^L
    two = [1, 2 * L, 2 * L * (L - 1)]
    three = [1, 6 * L, 8 * L + 36 * L * (L - 1) / 2]
    variance = [0, two[1], two[2]]
    third = three[2] - 3 * two[2]  # of order 1/n^2: E G^3 - 3 E G^2 + 2

    def one(value, power):
        return torch.full((1,) * power, value, dtype=torch.float64)

    return GramCumulants(
        one(K, 2),
        one(0.0, 2),
        one(K**2 * variance[1] / n, 4),
        one(0.0, 2),
        one(K**2 * variance[2] / n**2, 4),
        one(K**3 * third / n**2, 6),
    )


KERNEL = np.array([[1.0, 0.4], [0.4, 1.5]])


def grid(distribution, order, half=13.0, points=801):
    """Values of the density of one neuron on two inputs on a grid, and the cell's area."""
    axis = np.linspace(-half, half, points)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)[..., None, :]
    return z, distribution.density(z, order).numpy(), (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("order", [0, 1, 2])
def test_density_integrates_to_one_with_the_moments(order):
    found = NeuralDistribution(2, 1, wishart(KERNEL, 20))
    z, p, cell = grid(found, order)
    assert p.sum() * cell == pytest.approx(1, abs=1e-9)
    for inputs in [(0, 0), (0, 1), (0, 0, 1, 1), (0, 1, 1, 1), (0, 0, 0, 0, 1, 1)]:
        integral = (np.prod([z[..., 0, a] for a in inputs], axis=0) * p).sum() * cell
        assert found.moment([0] * len(inputs), inputs, order) == pytest.approx(integral, rel=1e-8)


def test_moments_of_two_neurons_against_exact_ones():
    # Given G: E z_i;a z_i;b z_j;c z_j;d = E G_ab G_cd, known exactly for a Wishart matrix, whose series ends.
    n, K = 7, KERNEL
    found = NeuralDistribution(2, 2, wishart(K, n))
    for a, b, c, d in itertools.product(range(2), repeat=4):
        exact = K[a, b] * K[c, d] + (K[a, c] * K[b, d] + K[a, d] * K[b, c]) / n
        assert found.moment([0, 0, 1, 1], [a, b, c, d]) == pytest.approx(exact)
        assert found.moment([0, 1, 0, 1], [a, c, b, d]) == pytest.approx(exact)
    cube = K[0, 0] ** 3 * (1 + 2 / n) * (1 + 4 / n)
    assert found.moment([0] * 6, [0] * 6) == pytest.approx(15 * cube)
    assert found.moment([0, 0, 0, 0, 1, 1], [0] * 6) == pytest.approx(3 * cube)
    assert found.moment([0, 1], [0, 0]) == 0.0
    assert found.moment([0, 0, 0], [0, 0, 1]) == 0.0
    assert found.moment([], []) == 1.0


def exact_density_of_one(n, L, K, z):
    """Density of one neuron after L linear layers of width n, by a sum over a fine grid of each chi-square."""
    u = (np.arange(400) + 0.5) / 400
    factor = stats.chi2.ppf(u, n) / n
    log_g = np.array([0.0])
    for _ in range(L):
        log_g = np.sort((log_g[:, None] + np.log(factor)).ravel())
        log_g = log_g.reshape(-1, max(1, len(log_g) // 4000)).mean(axis=1) if len(log_g) > 4000 else log_g
    G = K * np.exp(log_g)
    return stats.norm.pdf(z[:, None], scale=np.sqrt(G)).mean(axis=1)


@pytest.mark.parametrize("L", [1, 3])
def test_orders_improve_on_a_deep_linear_network(L):
    z = np.linspace(0, 2.5, 6)
    errors = {}
    for n in (40, 80):
        found = NeuralDistribution(L + 1, 1, chi_square_layers(n, L))
        exact = exact_density_of_one(n, L, 1.3, z)
        for order in (0, 1, 2):
            log_p = found.log_density(z[:, None, None], order).numpy()
            errors[n, order] = np.abs(log_p - np.log(exact)).max()
    for order in (0, 1):
        assert errors[80, order + 1] < 0.4 * errors[80, order]
    assert errors[40, 0] / errors[80, 0] == pytest.approx(2, rel=0.15)
    assert errors[40, 1] / errors[80, 1] == pytest.approx(4, rel=0.25)


def test_couplings_are_the_polynomial():
    found = NeuralDistribution(2, 3, wishart(KERNEL, 25))
    z = torch.tensor(np.random.default_rng(0).standard_normal((5, 3, 2)))
    M = z.transpose(1, 2) @ z
    for order in (0, 1, 2):
        c = found.couplings(order)
        action = c.constant + 0.5 * torch.einsum("ab,zab->z", c.quadratic, M)
        action = action - torch.einsum("abcd,zab,zcd->z", c.quartic, M, M) / 8
        action = action - torch.einsum("abcdef,zab,zcd,zef->z", c.sextic, M, M, M) / 48
        torch.testing.assert_close(-action, found.log_density(z, order), rtol=1e-10, atol=1e-10)


def test_couplings_to_leading_order_are_cumulants_raised():
    K = torch.tensor(KERNEL)
    up = torch.linalg.inv(K)
    found = NeuralDistribution(2, 1, wishart(KERNEL, 50))
    torch.testing.assert_close(found.couplings(0).quadratic, up, rtol=1e-10, atol=1e-12)
    assert not found.couplings(0).quartic.any()
    raised = torch.einsum("abcd,ae,bf,cg,dh->efgh", found.cumulants.covariance1, up, up, up, up)
    torch.testing.assert_close(found.couplings(1).quartic, raised, rtol=1e-9, atol=1e-12)
    assert not found.couplings(1).sextic.any()
    # One input, K = 1, M = z^2: of third order in M are X M^3/48; of V^2/8 (6 L2 L1^2 + L1^4), with L1 = (M - 1)/2 and
    # L2 = 1/2 - M, -7/4; and of -q1^2/2, +3/4. In all X/48 - V^2/8.
    one = NeuralDistribution(2, 1, chi_square_layers(50, 1, K=1.0))
    V, X = 2 / 50, 8 / 50**2
    assert one.couplings(2).sextic.item() == pytest.approx(X - 6 * V**2, rel=1e-9)


def test_marginals_integrate_the_rest_out():
    both = NeuralDistribution(2, 1, wishart(KERNEL, 20))
    z, p, cell = grid(both, 2)
    step = math.sqrt(cell)
    for kept in (0, 1):
        alone = both.marginal(inputs=[kept])
        axis = z[:, 0, 0, 0][:, None, None]
        np.testing.assert_allclose(p.sum(axis=1 - kept) * step, alone.density(axis).numpy(), atol=1e-9)
    two = NeuralDistribution(2, 2, chi_square_layers(15, 2))
    axis = np.linspace(-12, 12, 801)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)[..., None]
    integrated = two.density(z).numpy().sum(axis=1) * (axis[1] - axis[0])
    np.testing.assert_allclose(integrated, two.marginal(neurons=1).density(axis[:, None, None]).numpy(), atol=1e-9)
    swapped = both.marginal(inputs=[1, 0])
    point = torch.tensor([[[0.3, -1.0]]], dtype=torch.float64)
    torch.testing.assert_close(swapped.log_density(point.flip(-1)), both.log_density(point))


@pytest.mark.parametrize("order", [0, 1, 2])
def test_draws_follow_the_density(order):
    found = NeuralDistribution(3, 1, chi_square_layers(12, 2))
    draws = found.sample(20_000, seed=order, order=order).numpy().ravel()
    axis = np.linspace(-30, 30, 60_001)
    p = found.density(axis[:, None, None], order).numpy().clip(min=0)
    cdf = np.cumsum(p) / p.sum()
    assert stats.kstest(draws, lambda z: np.interp(z, axis, cdf)).pvalue > 1e-3
    again = found.sample(20_000, seed=order, order=order).numpy().ravel()
    assert np.array_equal(draws, again)


def test_draws_of_several_inputs_and_neurons_have_the_moments():
    found = NeuralDistribution(2, 2, wishart(KERNEL, 30))
    z = found.sample(40_000, seed=3).numpy()
    assert z.shape == (40_000, 2, 2)
    for neurons, inputs in [
        ((0, 0), (0, 1)),
        ((1, 1), (1, 1)),
        ((0, 0, 1, 1), (0, 0, 0, 0)),
        ((0, 0, 1, 1), (0, 1, 0, 1)),
    ]:
        values = np.prod([z[:, i, a] for i, a in zip(neurons, inputs)], axis=0)
        error = values.std() / math.sqrt(len(values))
        assert abs(values.mean() - found.moment(neurons, inputs)) < 5 * error


def test_where_the_density_turns_negative():
    found = NeuralDistribution(7, 1, chi_square_layers(6, 6))
    for order in (1, 2):
        s = found.negative_beyond([[1.0]], order)
        just = torch.tensor([[[s * 0.999]], [[s * 1.001]]], dtype=torch.float64)
        inside, outside = found.density(just, order)
        assert inside > 0 > outside
        mass, error = found.negative_mass(order, samples=400_000)
        axis = np.linspace(-40, 40, 400_001)
        p = found.density(axis[:, None, None], order).numpy()
        wanted = -p.clip(max=0).sum() * (axis[1] - axis[0])
        assert abs(mass - wanted) < 5 * error + 1e-9
    assert found.negative_beyond([[1.0]], 0) == math.inf
    assert NeuralDistribution(2, 1, chi_square_layers(60, 1)).negative_beyond([[1.0]], 1) == math.inf
    assert found.negative_mass(0) == (0.0, 0.0)
    # A covariance alone can only fatten the tails; order 1 turns negative where E G lies far below K.
    narrow = GramCumulants(found.cumulants.kernel, -0.9 * found.cumulants.kernel, 0 * found.cumulants.covariance1)
    assert 1 < NeuralDistribution(2, 1, narrow).negative_beyond([[1.0]]) < 3


def test_saved_and_loaded(tmp_path):
    for orders in (0, 1, 2):
        found = NeuralDistribution(2, 3, wishart(KERNEL, 9, orders))
        for name in (f"{orders}.json", f"{orders}"):
            found.save(tmp_path / name)
            back = rf.load(tmp_path / name)
            z = np.ones((2, 3, 2))
            assert torch.equal(back.log_density(z), found.log_density(z))
            assert repr(back) == repr(found)


FOUND = NeuralDistribution(2, 2, wishart(KERNEL, 9, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FOUND.log_density(np.ones((3, 2))), r"z must have shape \(..., neurons, inputs\) = \(..., 2, 2\)"),
        (lambda: FOUND.log_density(np.ones((2, 2)), order=2), "order must be 1 or less, got 2"),
        (lambda: FOUND.density(np.ones((2, 2)), order=3), "order must be 0, 1 or 2"),
        (lambda: FOUND.density(np.ones((2, 2)), order=True), "order must be 0, 1 or 2"),
        (lambda: FOUND.moment([0], [0, 1]), "as many numbers"),
        (lambda: FOUND.moment([0] * 8, [0] * 8), "up to six"),
        (lambda: FOUND.moment([0, 2], [0, 0]), "neurons must hold numbers from 0 to 1"),
        (lambda: FOUND.moment([0, 1], [0, -1]), "inputs must hold numbers from 0 to 1"),
        (lambda: FOUND.marginal(inputs=[0, 0]), "inputs must be different"),
        (lambda: FOUND.marginal(inputs=[]), "inputs must be different"),
        (lambda: FOUND.marginal(neurons=3), "neurons must be from 1 to 2"),
        (lambda: FOUND.sample(0), "count"),
        (lambda: FOUND.sample(5, seed=-1), "seed"),
        (lambda: FOUND.negative_beyond(np.ones((3, 2, 2))), "one point"),
        (lambda: NeuralDistribution(2, 1, wishart(np.ones((2, 2)), 9)).density(np.ones((1, 2))), "kernel is singular"),
        (lambda: NeuralDistribution(2, 1, wishart(np.zeros((1, 1)), 9)).sample(3), "kernel is singular"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_singular_kernel_still_has_moments_and_marginals():
    found = NeuralDistribution(2, 1, wishart(np.ones((2, 2)), 9))
    assert found.moment([0, 0], [0, 1]) == 1.0
    assert math.isfinite(float(found.marginal(inputs=[1]).log_density([[0.5]])))
