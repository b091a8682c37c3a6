"""Theories of quantum spins: how complexity grows out of few couplings, by exact dynamics of up to 16 spins."""

from repflow.theories.quantum.covering import Covering, Exponent, covering_time, fit_exponent
from repflow.theories.quantum.equilibration import Equilibrium, ExactDynamics, inverse_temperature
from repflow.theories.quantum.evolution import Evolution, apply_pauli, haar_states
from repflow.theories.quantum.floquet import KickedIsing, kicked_ising
from repflow.theories.quantum.form_factor import (
    Ensemble,
    Plateau,
    coe_form,
    cue_form,
    form_factor,
    plateau_time,
    ramp_time,
)
from repflow.theories.quantum.hamiltonian import (
    SpinHamiltonian,
    generic_matrix,
    ising,
    ising_chain,
    random_hamiltonian,
)
from repflow.theories.quantum.light_cone import (
    Front,
    arrival_times,
    chain_lieb_robinson_velocity,
    fit_front,
    lieb_robinson_bound,
)
from repflow.theories.quantum.otoc import Otoc, generic_otoc, otoc
from repflow.theories.quantum.pauli import CouplingCount, count_couplings, pauli_couplings, pauli_sum, weights
from repflow.theories.quantum.random_states import (
    haar_distance,
    haar_distance_bound,
    haar_distance_one_site,
    haar_purity,
    haar_unitary,
    product_state,
    random_directions,
)
from repflow.theories.quantum.reduced import (
    all_reduced,
    local_distances,
    overlap,
    purity,
    reduced,
    subsets,
    trace_distance,
)
from repflow.theories.quantum.spectrum import SPACING_RATIOS, eigenphases, spacing_ratio, spectral_kurtosis

__all__ = [
    "SPACING_RATIOS",
    "CouplingCount",
    "Covering",
    "Ensemble",
    "Equilibrium",
    "Evolution",
    "ExactDynamics",
    "Exponent",
    "Front",
    "KickedIsing",
    "Otoc",
    "Plateau",
    "SpinHamiltonian",
    "all_reduced",
    "apply_pauli",
    "arrival_times",
    "chain_lieb_robinson_velocity",
    "coe_form",
    "count_couplings",
    "covering_time",
    "cue_form",
    "eigenphases",
    "fit_exponent",
    "fit_front",
    "form_factor",
    "generic_matrix",
    "generic_otoc",
    "haar_distance",
    "haar_distance_bound",
    "haar_distance_one_site",
    "haar_purity",
    "haar_states",
    "haar_unitary",
    "inverse_temperature",
    "ising",
    "ising_chain",
    "kicked_ising",
    "lieb_robinson_bound",
    "local_distances",
    "otoc",
    "overlap",
    "pauli_couplings",
    "pauli_sum",
    "plateau_time",
    "product_state",
    "purity",
    "ramp_time",
    "random_directions",
    "random_hamiltonian",
    "reduced",
    "spacing_ratio",
    "spectral_kurtosis",
    "subsets",
    "trace_distance",
    "weights",
]
