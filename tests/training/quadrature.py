"""The tensors by brute force: every expectation a sum over a grid, every recursion written out by indices.

It shares nothing with the package but the formulas. tanh, N of 1 or 2.
"""

from types import SimpleNamespace

import numpy as np

E = np.einsum


def _tanh(z):
    t = np.tanh(z)
    u = 1 - t * t
    return [t, u, -2 * t * u, -2 * u * (1 - 3 * t * t), 8 * t * u * (2 - 3 * t * t)]


class Moments:
    """<s^(p)_a s^(q)_b> and four of them, on a trapezoid grid in whitened coordinates."""

    def __init__(self, kernel):
        n = len(kernel)
        x = np.linspace(-8.4, 8.4, 121)
        w = np.exp(-x * x / 2)
        w /= w.sum()
        grid = np.stack(np.meshgrid(*[x] * n, indexing="ij")).reshape(n, -1)
        self.w = np.stack(np.meshgrid(*[w] * n, indexing="ij")).reshape(n, -1).prod(0)
        values, vectors = np.linalg.eigh(kernel)
        self.d = _tanh((vectors * np.sqrt(values.clip(0))) @ vectors.T @ grid)

    def two(self, p, q):
        return E("ag,bg,g->ab", self.d[p], self.d[q], self.w)

    def four(self, *orders):
        return E("ag,bg,cg,dg,g->abcd", *[self.d[k] for k in orders], self.w, optimize=True)

    def slope(self, p, q):
        """<d_g (s^(p)_a s^(q)_b)>, axes a, b, g."""
        eye = np.eye(len(self.d[0]))
        return E("ab,ag->abg", self.two(p + 1, q), eye) + E("ab,bg->abg", self.two(p, q + 1), eye)


def layers(network, x):
    """Layers 1..L with kernel, ntk, B, F, P, Q, R, S, T, U, as plain arrays."""
    first = network.layers[0]
    n, gram = len(x), x @ x.T / first.n_in
    zero = {name: np.zeros((n,) * 4) for name in "BFPQRSTU"}
    found = [
        SimpleNamespace(
            kernel=first.C_b + first.C_W * gram, ntk=first.lambda_b + first.lambda_W * gram, moments=None, **zero
        )
    ]
    for number, layer in enumerate(network.layers[1:], start=1):
        old = found[-1]
        m = old.moments = Moments(old.kernel)
        c, lam, th = layer.C_W, layer.lambda_W, old.ntk
        r = layer.n_in / network.layers[number - 1].n_in
        ss, d_omega = m.two(1, 1), lam * m.slope(1, 0) + c * m.slope(2, 1) * th[:, :, None]
        signal, other = m.slope(1, 0), m.slope(0, 1)
        fourth = m.four(2, 1, 1, 0)
        u = lam * m.two(2, 0) + c * th * m.two(3, 1)
        v = lam * ss + c * th * m.two(2, 2)
        t0 = lam**2 * m.four(1, 0, 1, 0) + lam * c * E("acbd,ac->acbd", fourth, th)
        t0 = t0 + lam * c * E("acbd,bd->acbd", m.four(1, 0, 2, 1), th)
        both = m.four(2, 1, 2, 1)
        t0 = t0 + c * c * E("acbd,ac,bd->acbd", both, th, th)
        new = SimpleNamespace(
            kernel=layer.C_b + c * m.two(0, 0), ntk=layer.lambda_b + lam * m.two(0, 0) + c * ss * th, moments=None
        )
        new.B = c * c * E("acbd,ab,cd->acbd", m.four(1, 1, 1, 1), th, th) + r * c * c * E(
            "ac,bd,acbd->acbd", ss, ss, old.B
        )
        new.F = c * c * E("acbd,cd->acbd", m.four(0, 1, 0, 1), th)
        new.F = new.F + r * c * c * E("ace,bdf,ecfd->acbd", other, other, old.F)
        new.P = c * c * E("abcd,ab,ac->abcd", fourth, th, th) + r * c * c * E(
            "bc,abcd->abcd", ss, E("ad,aabc->abcd", m.two(2, 0), old.B) + E("ade,abce->abcd", signal, old.P)
        )
        new.Q = c * E("abcd,ac->abcd", lam * m.four(1, 0, 1, 0) + c * E("abcd,ab->abcd", fourth, th), th)
        new.Q = new.Q + r * c * E("abe,cdf,eafc->abcd", d_omega, signal, old.F)
        new.Q = new.Q + r * c * c * E("ab,cde,abce->abcd", ss, signal, old.Q)
        third = lam * m.four(2, 0, 1, 1) + c * E("abcd,ab->abcd", m.four(3, 1, 1, 1), th)
        new.R = c * E("abcd,ac,ad->abcd", third, th, th) + r * c * E(
            "cd,abcd->abcd",
            ss,
            E("ab,aacd->abcd", u, old.B) + E("abe,acde->abcd", d_omega, old.P) + c * E("ab,abcd->abcd", ss, old.R),
        )
        second = lam * m.four(1, 1, 1, 1) + c * E("abcd,ab->abcd", m.four(2, 2, 1, 1), th)
        new.S = c * E("abcd,ac,bd->abcd", second, th, th) + r * c * E(
            "cd,abcd->abcd", ss, E("ab,abcd->abcd", v, old.B) + c * E("ab,abcd->abcd", ss, old.S)
        )
        new.T = E("acbd,ab->acbd", t0, th) + r * (
            E("ace,bdf,eafb->acbd", d_omega, d_omega, old.F)
            + c * E("bd,ace,bdae->acbd", ss, d_omega, old.Q)
            + c * E("ac,bde,acbe->acbd", ss, d_omega, old.Q)
            + c * c * E("ac,bd,acbd->acbd", ss, ss, old.T)
        )
        new.U = c * c * E("adbc,ab,ac,bd->adbc", both, th, th, th) + r * c * c * E("ad,bc,adbc->adbc", ss, ss, old.U)
        found.append(new)
    return found
