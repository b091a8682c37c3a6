"""Networks of the same units that differ in which weights exist or are shared, trained on shifted digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import generator
from repflow.experiments.parameter_sharing.shifted_digits import ShiftedDigits, shifted_digits
from repflow.experiments.registry import Tell

if TYPE_CHECKING:
    from torch import Tensor, nn

    from repflow.tuning import Plan

FloatArray = NDArray[np.float64]

#: Units of every hidden layer are CHANNELS times its sites; classes; test digits; images that a plan is made on.
CHANNELS, CLASSES, TEST, PLANNED = 12, 10, 500, 64


FC, LC, CONV = "fully connected", "locally connected", "convolutional"


MAIN = (FC, LC, CONV)


OWN_HEAD, SHARED_HEAD, SCRAMBLED = (
    "convolutional, own head",
    "locally connected, shared head",
    "convolutional, scrambled",
)


CONTROLS = (OWN_HEAD, SHARED_HEAD, SCRAMBLED)


@dataclass(frozen=True)
class Setting:
    """What is run: side of the canvas, training images, draws, steps and batch, and octaves of the rate swept."""

    side: int
    images: tuple[int, ...]
    draws: int
    steps: int
    batch: int
    octaves: tuple[int, ...]

    @property
    def control_images(self) -> int:
        """Training images of the controls: the second number."""
        return self.images[1]


@dataclass(frozen=True)
class Errors:
    """Shares of images classified wrongly by one trained network: training, test at seen and at unseen positions."""

    train: float
    seen: float
    unseen: float


Found = dict[tuple[str, int], list[Errors]]


def train_all(setting: Setting, seed: int, tell: Tell) -> tuple[Found, dict[str, int], list[dict[str, Any]]]:
    """Errors by network and number of images, parameters by network, and the mean errors of the rates swept."""
    found: Found = {}
    plans: dict[str, Plan] = {}
    parameters: dict[str, int] = {}
    total = setting.draws * (len(MAIN) * len(setting.images) + len(CONTROLS))
    total += len(MAIN) * len(setting.octaves) * setting.draws
    done = 0
    swept: dict[tuple[str, int], list[Errors]] = {}
    for draw in range(setting.draws):
        data = shifted_digits(setting.side, max(setting.images), TEST, seed, draw)
        order = generator(seed, draw, 0).permutation(setting.side**2)
        for name in (*MAIN, *CONTROLS):
            seen = data.scrambled(order) if name == SCRAMBLED else data
            model = network(name, setting.side, seed)
            if name not in plans:
                plans[name] = made_plan(model, seen)
                parameters[name] = sum(parameter.numel() for parameter in model.parameters())
            for images in setting.images if name in MAIN else (setting.control_images,):
                tell(f"{name}, {images} images, draw {draw + 1}", done / total)
                errors = train(model, plans[name], seen, images, setting, (seed, draw))
                found.setdefault((name, images), []).append(errors)
                done += 1
            for octave in setting.octaves if name in MAIN else ():
                tell(f"{name}, rate 2^{octave}, draw {draw + 1}", done / total)
                errors = train(model, plans[name], seen, setting.control_images, setting, (seed, draw), 2.0**octave)
                swept.setdefault((name, octave), []).append(errors)
                done += 1
    sweep = [
        {
            "network": name,
            "octave": octave,
            "seen": float(np.mean([one.seen for one in errors])),
            "unseen": float(np.mean([one.unseen for one in errors])),
        }
        for (name, octave), errors in swept.items()
    ]
    return found, parameters, sweep


def network(name: str, side: int, seed: int) -> nn.Sequential:
    """One of the networks of MAIN and CONTROLS."""
    import torch

    from repflow.training.shared_weights import Head, Wiring, lattice_network

    built: dict[str, tuple[Wiring, Head | None]] = {
        FC: ("fully connected", None),
        LC: ("locally connected", None),
        CONV: ("convolutional", None),
        OWN_HEAD: ("convolutional", "own"),
        SHARED_HEAD: ("locally connected", "shared"),
        SCRAMBLED: ("convolutional", None),
    }
    wiring, head = built[name]
    # Modules draw their first weights from torch's generator: the caller's stays as it is.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return lattice_network(wiring, side, CHANNELS, CLASSES, head=head)


def made_plan(model: nn.Module, data: ShiftedDigits) -> Plan:
    """What ``rf.tune`` advises for the network, on the first training images."""
    import torch

    from repflow.tuning import tune

    return tune(model, _tensor(data.x[:PLANNED]), torch.from_numpy(data.y[:PLANNED]), loss="cross_entropy")


def _tensor(images: FloatArray) -> Tensor:
    import torch

    return torch.from_numpy(images).to(torch.float32)[:, None]


def train(
    model: nn.Module,
    plan: Plan,
    data: ShiftedDigits,
    images: int,
    setting: Setting,
    key: tuple[int, int],
    lr: float = 1.0,
) -> Errors:
    """Draw new weights, train on the first ``images`` images, and test."""
    import torch

    random = generator(*key, images)
    plan.initialize_(model, generator=torch.Generator().manual_seed(int(random.integers(2**62))))
    optimizer = torch.optim.Adam(plan.param_groups(model, optimizer="adam", lr=lr))
    x, y = _tensor(data.x[:images]), torch.from_numpy(data.y[:images])
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, setting.steps)
    for _ in range(setting.steps):
        rows = torch.from_numpy(random.permutation(images)[: setting.batch])
        loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():

        def wrong(inputs: Tensor, classes: Tensor) -> float:
            return float((model(inputs).argmax(dim=1) != classes).double().mean())

        y_test = torch.from_numpy(data.y_test)
        return Errors(wrong(x, y), wrong(_tensor(data.seen), y_test), wrong(_tensor(data.unseen), y_test))
