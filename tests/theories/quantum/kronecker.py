"""Spins by brute force: Kronecker products and explicit sums, to check the fast ways against."""

import functools

import numpy as np
from scipy.linalg import expm

PAULI = {
    "i": np.eye(2),
    "x": np.array([[0.0, 1.0], [1.0, 0.0]]),
    "y": np.array([[0.0, -1.0j], [1.0j, 0.0]]),
    "z": np.diag([1.0, -1.0]),
}


def string(letters):
    """The product of Pauli matrices, letters[i] on spin i; bit i of an index is spin i, so spin 0 comes last."""
    return functools.reduce(np.kron, [PAULI[letter] for letter in reversed(letters)])


def local(N, letter, site):
    return string("".join(letter if i == site else "i" for i in range(N)))


def period(chain):
    """U of a kicked chain from matrix exponentials."""
    N, U = chain.N, np.eye(2**chain.N)
    for J, h, k in zip(chain.couplings, chain.fields, chain.kicks):
        z = [local(N, "z", i) for i in range(N)]
        ising = sum(J[i] * z[i] @ z[i + 1] for i in range(N - 1)) + sum(h[i] * z[i] for i in range(N))
        kick = sum(k[i, a] * local(N, letter, i) for i in range(N) for a, letter in enumerate("xyz"))
        U = expm(-1j * kick) @ expm(-1j * ising) @ U
    return U


def partial_trace(psi, sites):
    """rho[m, n] = sum over the rest of psi[x] psi[y]^*, term by term; bit m of a row is spin sites[m]."""
    N = int(np.log2(len(psi)))
    rho = np.zeros((2 ** len(sites),) * 2, dtype=complex)
    inside = sum(1 << site for site in sites)
    for x in range(2**N):
        for y in range(2**N):
            if (x & ~inside) == (y & ~inside):
                row = sum(((x >> site) & 1) << m for m, site in enumerate(sites))
                column = sum(((y >> site) & 1) << m for m, site in enumerate(sites))
                rho[row, column] += psi[x] * psi[y].conj()
    return rho
