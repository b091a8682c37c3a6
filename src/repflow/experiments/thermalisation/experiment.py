"""Simple laws make states that look random to every local observable, long before anything about them is random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repflow.experiments.fits import fit_slope
from repflow.experiments.intervals import mean_interval
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.thermalisation.figure import draw, tabulate
from repflow.experiments.thermalisation.kicked_chain import REACH, START, Followed, Ramp, failing_from, follow, ramp
from repflow.experiments.thermalisation.static_chain import Counted, Equilibrated, count, equilibrate
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict

CLAIM = (
    "Under few local couplings a product state becomes, for every observable on one or two spins, a Haar-random state "
    "up to 2^(-N/2), while a global observable still tells it from its counterfactual; about 2^N periods pass before "
    "it is truly random, and O(N) couplings are 4^N without the basis of sites."
)
#: Accepted slopes against N of log2 of: the distance of reduced density matrices from the maximally mixed state, the
#: plateau time, temporal fluctuations, and the largest local distance between counterfactuals.
DISTANCE, PLATEAU, FLUCTUATION, APART = (-0.575, -0.425), (0.85, 1.15), (-0.75, -0.25), (-0.75, -0.3)
#: Accepted ratios to the Haar-random value at the largest N; gap to the thermal value over the initial deviation.
RATIO, GAP = (0.9, 1.1), 0.25
#: Own couplings a spin at most, rotated couplings over 4^N at least; |excess kurtosis| of a spectrum about its limit.
OWN, ROTATED, SHAPE = 3.0, 0.9, 0.25
#: Overlap of orthogonal states at any time, at most.
OVERLAP = 1e-9


@dataclass(frozen=True)
class Plan:
    """What is run: spins of each part; realisations and times of states; realisations of the form factor by N."""

    states: tuple[int, ...]
    realisations: int
    times: int
    form_factor: Mapping[int, int]
    static: tuple[int, ...]
    products: int
    couplings: tuple[int, ...]


_SIZES: dict[Size, Plan] = {
    "small": Plan(
        states=tuple(range(4, 11)),
        realisations=6,
        times=50,
        form_factor={4: 200, 5: 120, 6: 80, 7: 48, 8: 24},
        static=tuple(range(4, 10)),
        products=12,
        couplings=(3, 4, 5, 6),
    ),
    "default": Plan(
        states=tuple(range(4, 14)),
        realisations=8,
        times=64,
        form_factor={4: 400, 5: 240, 6: 160, 7: 96, 8: 48, 9: 24, 10: 10},
        static=tuple(range(4, 12)),
        products=16,
        couplings=(3, 4, 5, 6, 7, 8),
    ),
    "large": Plan(
        states=tuple(range(4, 17)),
        realisations=12,
        times=100,
        form_factor={4: 1000, 5: 600, 6: 400, 7: 240, 8: 120, 9: 60, 10: 40, 11: 12},
        static=tuple(range(4, 13)),
        products=24,
        couplings=(3, 4, 5, 6, 7, 8),
    ),
}


@experiment("thermalisation", CLAIM)
def thermalisation(size: Size, seed: int, tell: Tell) -> Outcome:
    """Follow product states of spin chains exactly, and draw Haar-random states beside them.

    The static chain is the mixed-field Ising chain, sum zz + g sum x + h sum z with open ends; the kicked chain is a
    Floquet mixed-field Ising chain with disordered fields and two kicks a period, without any symmetry (CUE). Product
    states have spins in independent directions. Averages over periods begin at period 32. All slopes are those of
    log2 against N, by least squares, with 95% intervals from the scatter of the points.

    Rule: five parts; "agrees" where all agree, "disagrees" where one disagrees, else "inconclusive". A part agrees
    where each of its intervals lies in the accepted range, and disagrees where one lies outside.
    (1) Equilibration, static chain: the slope of the root mean square temporal fluctuation of z of the middle spin in
    [-0.75, -0.25]; at the largest N the root mean square distance of its time average from the thermal value is at
    most 0.25 of that of its initial value.
    (2) Local observables, kicked chain: the slopes of the mean trace distance of one- and of two-site reduced density
    matrices from the maximally mixed state (over all sites or pairs, at least 50 periods and all realisations) in
    -0.5 (1 -+ 0.15), and at the largest N their ratios to the mean of Haar-random states, by formula, in [0.9, 1.1].
    (3) Time to be random: with |tr U^t|^2 at t = 1 ... 4 2^N, t_H is the time at which a ramp that is free to have any
    slope meets the plateau 2^N, by maximum likelihood; the slope of log2 t_H in 1 -+ 0.15.
    (4) Preferred basis: of the couplings of the static chain in the Pauli basis at most 3 N are above 1e-6 of their
    norm in its own basis, and at least 0.9 4^N after a Haar-random unitary, at every N; at the largest N the excess
    kurtosis of its spectrum is within 0.25 of 0 (Gaussian) and that of a random matrix within 0.25 of -1 (semicircle).
    (5) Counterfactuals, kicked chain: the state and the one from an initial state with one spin flipped have an overlap
    of at most 1e-9 at all periods, so that the projector on either tells them apart with certainty, while the largest
    trace distance over all pairs of sites, averaged over periods, has a slope in [-0.75, -0.3] and at the largest N a
    ratio to that of two Haar-random states in [0.9, 1.1].
    """
    plan = _SIZES[size]
    work = _Work(tell, plan)
    static = [equilibrate(work.at("static chain", N), plan.products, seed) for N in plan.static]
    counted = [count(work.at("couplings", N), seed) for N in plan.couplings]
    ramps = [ramp(work.at("form factor", N), R, seed) for N, R in plan.form_factor.items()]
    reversible_N = max(N for N, R in plan.form_factor.items() if R >= 24)
    reversible = ramp(work.at("form factor, COE", reversible_N), plan.form_factor[reversible_N], seed, "COE")
    followed = [follow(work.at("kicked chain", N), plan.realisations, plan.times, seed) for N in plan.states]
    tell("verdict", 1.0)
    verdicts: dict[str, Verdict] = {}
    numbers: dict[str, Any] = {}
    for name, (verdict, found) in {
        "equilibration": equilibration_part(static),
        "local_observables": local_part(followed),
        "plateau": plateau_part(ramps),
        "preferred_basis": basis_part(counted),
        "counterfactual": counterfactual_part(followed),
    }.items():
        verdicts[f"{name}_verdict"] = verdict
        numbers |= found
    numbers |= {
        "coe_N": reversible.N,
        "coe_plateau_over_2^N": reversible.plateau.time / 2**reversible.N,
        "coe_plateau_log2_error": reversible.plateau.log2_error,
        "coe_spacing_ratio": reversible.ratio,
        "coe_spacing_ratio_error": reversible.ratio_error,
        "periods_until_local_observables_fail": {str(entry.N): failing_from(entry) for entry in followed},
    }
    return Outcome(
        verdict=combined_verdict(list(verdicts.values())),
        numbers={**verdicts, **numbers},
        table=tabulate(static, followed, [*ramps, reversible], counted),
        figure=draw(static, followed, [*ramps, reversible], counted, numbers),
        configuration={
            "states_N": list(plan.states),
            "realisations": plan.realisations,
            "periods": plan.times,
            "first_period": START,
            "form_factor_realisations": {str(N): R for N, R in plan.form_factor.items()},
            "form_factor_times": f"1 ... {REACH} 2^N",
            "static_N": list(plan.static),
            "product_states": plan.products,
            "couplings_N": list(plan.couplings),
            "accepted": {
                "fluctuation": list(FLUCTUATION),
                "distance": list(DISTANCE),
                "plateau": list(PLATEAU),
                "largest_distance": list(APART),
                "ratio": list(RATIO),
            },
        },
    )


class _Work:
    """Says what is done, with the share of the whole: about 2^N for each piece."""

    def __init__(self, tell: Tell, plan: Plan) -> None:
        self._tell, self._done, self._left = tell, 0.0, 0.0
        pieces = [*plan.static, *plan.couplings, *plan.form_factor, *plan.states]
        self._total = float(sum(2**N for N in pieces)) + 2.0 ** max(plan.form_factor)

    def at(self, what: str, N: int) -> int:
        """N, after saying that this piece begins."""
        self._done, self._left = self._done + self._left, float(2**N)
        self._tell(f"{what}, N = {N}", min(1.0, self._done / self._total))
        return N


def equilibration_part(static: Sequence[Equilibrated]) -> tuple[Verdict, dict[str, Any]]:
    """Part (1) of the rule, N ascending."""
    slope = fit_slope([entry.N for entry in static], [entry.fluctuation for entry in static])
    gaps = fit_slope([entry.N for entry in static], [entry.gap for entry in static])
    last = static[-1]
    share = last.gap / last.deviation
    near: Verdict = "agrees" if share <= GAP else "disagrees"
    return combined_verdict([interval_verdict(*slope.interval, FLUCTUATION), near]), {
        "fluctuation_slope": slope.slope,
        "fluctuation_slope_interval": list(slope.interval),
        "fluctuation_at_largest_N": last.fluctuation,
        "thermal_gap_slope": gaps.slope,
        "thermal_gap_slope_interval": list(gaps.interval),
        "thermal_gap_over_initial": share,
        "tilted_fluctuation_formula": last.formula,
        "tilted_fluctuation_measured": last.measured,
    }


def local_part(followed: Sequence[Followed]) -> tuple[Verdict, dict[str, Any]]:
    """Part (2) of the rule, N ascending."""
    from repflow.theories import quantum as qm

    N, last = [entry.N for entry in followed], followed[-1]
    haar = {"one": qm.haar_distance_one_site(last.N), "two": qm.haar_distance(2, last.N)}
    verdicts: list[Verdict] = []
    numbers: dict[str, Any] = {}
    for name in ("one", "two"):
        slope = fit_slope(N, [getattr(entry, name).mean() for entry in followed])
        drawn = fit_slope(N, [getattr(entry, f"haar_{name}").mean() for entry in followed])
        ratio, low, high = mean_interval(getattr(last, name) / haar[name])
        verdicts += [interval_verdict(*slope.interval, DISTANCE), interval_verdict(low, high, RATIO)]
        numbers |= {
            f"{name}_site_slope": slope.slope,
            f"{name}_site_slope_interval": list(slope.interval),
            f"{name}_site_haar_slope": drawn.slope,
            f"{name}_site_distance_at_largest_N": float(getattr(last, name).mean()),
            f"{name}_site_over_haar": ratio,
            f"{name}_site_over_haar_interval": [low, high],
        }
    excess, expected = last.purity - 0.25, qm.haar_purity(2, last.N) - 0.25
    ratio, low, high = mean_interval(excess / expected)
    return combined_verdict(verdicts), numbers | {
        "two_site_purity_excess_over_haar": ratio,
        "two_site_purity_excess_over_haar_interval": [low, high],
    }


def plateau_part(ramps: Sequence[Ramp]) -> tuple[Verdict, dict[str, Any]]:
    """Part (3) of the rule, N ascending."""
    slope = fit_slope([entry.N for entry in ramps], [entry.plateau.time for entry in ramps])
    last = ramps[-1]
    return interval_verdict(*slope.interval, PLATEAU), {
        "plateau_slope": slope.slope,
        "plateau_slope_interval": list(slope.interval),
        "plateau_over_2^N": {str(entry.N): entry.plateau.time / 2**entry.N for entry in ramps},
        "plateau_log2_error": {str(entry.N): entry.plateau.log2_error for entry in ramps},
        "ramp_from_period": {str(entry.N): entry.ramp_from for entry in ramps},
        "spacing_ratio": last.ratio,
        "spacing_ratio_error": last.ratio_error,
    }


def basis_part(counted: Sequence[Counted]) -> tuple[Verdict, dict[str, Any]]:
    """Part (4) of the rule, N ascending."""
    last = counted[-1]
    few = all(entry.own.count <= OWN * entry.N for entry in counted)
    many = all(entry.rotated.count >= ROTATED * 4**entry.N for entry in counted)
    shapes = abs(last.kurtosis) <= SHAPE and abs(last.generic_kurtosis + 1) <= SHAPE
    return "agrees" if few and many and shapes else "disagrees", {
        "couplings_own": {str(entry.N): entry.own.count for entry in counted},
        "couplings_rotated": {str(entry.N): entry.rotated.count for entry in counted},
        "couplings_all": {str(entry.N): entry.own.total for entry in counted},
        "participation_own": last.own.participation,
        "participation_rotated_over_4^N": last.rotated.participation / 4**last.N,
        "weight_on_two_spins_rotated": last.rotated.local_weight,
        "spectral_kurtosis_chain": last.kurtosis,
        "spectral_kurtosis_random": last.generic_kurtosis,
    }


def counterfactual_part(followed: Sequence[Followed]) -> tuple[Verdict, dict[str, Any]]:
    """Part (5) of the rule, N ascending."""
    last = followed[-1]
    overlap = max(float(entry.overlap.max()) for entry in followed)
    slope = fit_slope([entry.N for entry in followed], [entry.most_apart.mean() for entry in followed])
    mean = fit_slope([entry.N for entry in followed], [entry.apart.mean() for entry in followed])
    ratio, low, high = mean_interval(last.most_apart / last.haar_most_apart.mean())
    told: Verdict = "agrees" if overlap <= OVERLAP else "disagrees"
    parts = [told, interval_verdict(*slope.interval, APART), interval_verdict(low, high, RATIO)]
    return combined_verdict(parts), {
        "largest_overlap_with_counterfactual": overlap,
        "largest_local_distance_slope": slope.slope,
        "largest_local_distance_slope_interval": list(slope.interval),
        "mean_local_distance_slope": mean.slope,
        "mean_local_distance_slope_interval": list(mean.interval),
        "largest_local_distance_at_largest_N": float(last.most_apart.mean()),
        "largest_local_distance_over_haar": ratio,
        "largest_local_distance_over_haar_interval": [low, high],
        "overlap_with_haar_times_2^N": float(last.haar_overlap.mean()) * 2**last.N,
    }
