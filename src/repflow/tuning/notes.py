"""What plans say of themselves in words, computed and measured ones alike."""

from __future__ import annotations

from repflow.tuning.aspect_ratio import TRUSTED


def seeds_differ(relative_variance: float) -> list[str]:
    """A note where r_L is beyond what order 1 describes."""
    if relative_variance <= TRUSTED:
        return []
    return [
        f"r_L = {relative_variance:.2f} is above {TRUSTED}: initialisations differ much, and lr = 1.0 may be too high "
        "for some"
    ]


def above_the_edge(edge: float) -> list[str]:
    """A note where lr = 1.0 lies above the edge of stability, which is given in units of lr."""
    if edge >= 1:
        return []
    return [
        f"SGD at lr = 1.0 is {1 / edge:.2g} times the predicted edge of stability: the full-batch loss may rise at "
        "first; networks that learn features then move to flatter ground"
    ]
