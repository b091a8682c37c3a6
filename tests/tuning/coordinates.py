"""Models for the tests of the coordinate check, and one-line calls of it."""

from __future__ import annotations

import itertools

from torch import nn

import repflow as rf


def chain(width, hidden, activation=nn.Tanh, kind=nn.Sequential):
    parts = []
    for a, b in itertools.pairwise([64, *[width] * hidden]):
        parts += [nn.Linear(a, b), activation()]
    return kind(*parts, nn.Linear(width, 10))


def check(planned, batch, model=None, **settings):
    own, plan = planned
    return rf.coordinate_check(own if model is None else model, plan, batch, steps=2, **settings)


def named(found, kind):
    return [problem.where for problem in found.problems if problem.kind == kind]


class Skipping(nn.Sequential):
    def forward(self, x):
        for number, part in enumerate(self):
            x = x if number in (4, 5) else part(x)
        return x


class Louder(nn.Sequential):
    def forward(self, x):
        return 5.0 * super().forward(x)
