"""The table of all registered activations in ``docs/activations.md``: ``python -m repflow.criticality.table [PATH]``.

Without a path the page goes to standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from repflow.activation import activation_names
from repflow.criticality.points import HALF_STABLE, NONE, SCALE_INVARIANT
from repflow.criticality.result import Critical, critical
from repflow.results import atomic_write_text

#: What stands for a family with a parameter.
_EXAMPLES = {"leaky_relu": ("leaky_relu:0.01", "leaky_relu:0.2"), "monomial": ("monomial:2", "monomial:3")}

_INTRODUCTION = """\
# Critical points of the registered activations

Made by `python -m repflow.criticality.table docs/activations.md`; a test compares this page with what the command
gives.

`rf.critical(activation)` gives each line, for these and for any callable. At the couplings C_W and C_b both
susceptibilities are 1 at the fixed point K\\*. `nu` is the slope of the fluctuations from one initialisation to the
next: the variance of the kernel of one input is nu K^2 l/n in layer l of a network of width n.

| class | what it means |
| --- | --- |
| scale-invariant | a straight line on each side of 0: every K is a fixed point |
| K\\*=0 | sigma(0) = 0 with a slope: K falls to 0, by the law given |
| half-stable | K\\* > 0 that attracts from one side only: the first layer has to bring K there |
| none | no critical couplings, but a best compromise |

The best compromise maximises min(xi_parallel, xi_perpendicular) at a stable K\\* from 0.01 to 100 with chi_parallel at
most 0.99, where xi = 1/|log chi| is the number of layers over which a difference changes by a factor e.
"""


def _points(result: Critical) -> str:
    K_star = result.K_star
    others = [p for p in result.fixed_points if K_star is None or abs(p.K - K_star) > 1e-4 * K_star]
    return "; ".join(f"{point.K:.6g} ({point.stability})" for point in others) or "-"


def table(names: Sequence[str] | None = None) -> str:
    """The page as Markdown.

    Parameters
    ----------
    names
        Activations; None for all that are registered, an example or two of each family with a parameter.

    Returns
    -------
    str
        Ends in a newline.
    """
    if names is None:
        names = [example for name in activation_names() for example in _EXAMPLES.get(name, (name,))]
    results = [critical(name) for name in names]
    lines = [
        _INTRODUCTION,
        "## With a critical point",
        "",
        "| activation | class | C_W | C_b | K\\* | approach | nu | other fixed points at these couplings |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        if result.universality_class == NONE:
            continue
        free = result.universality_class == SCALE_INVARIANT
        K_star = "any" if result.K_star is None else f"{result.K_star:.8g}"
        shown = result.universality_class
        if shown == HALF_STABLE:
            shown = f"{shown}, {result.stability}"
        elif result.stability == "unstable":
            shown = f"{shown}, unstable"
        nu = "-" if result.nu is None else f"{result.nu:.6g}"
        cells = [
            f"`{result.activation.name}`",
            shown.replace("*", "\\*"),
            f"{result.C_W:.9g}",
            f"{result.C_b:.9g}",
            K_star,
            result.approach.law.replace("*", "\\*"),
            nu,
            "-" if free else _points(result),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Without a critical point: the best compromise",
        "",
        "| activation | C_W | C_b | K\\* | chi_parallel, chi_perpendicular | xi_parallel, xi_perpendicular | remarks |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        if result.universality_class != NONE:
            continue
        cells = [
            f"`{result.activation.name}`",
            f"{result.C_W:.6g}",
            f"{result.C_b:.6g}",
            f"{result.K_star:.6g}",
            f"{result.chi_parallel:.4g}, {result.chi_perpendicular:.4g}",
            f"{result.xi_parallel:.3g}, {result.xi_perpendicular:.3g}",
            " ".join(result.warnings[1:]).replace("*", "\\*") or "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to the path given, or to standard output; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) > 1:
        sys.stderr.write("usage: python -m repflow.criticality.table [PATH]\n")
        return 2
    page = table()
    if given:
        atomic_write_text(given[0], page)
    else:
        sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
