"""The models: a residual MLP, and the GPT-2 of ``transformers`` reading the digits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from residual_mlp import ResidualMLP
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

TOKENS, HEADS, CLASSES = 4, 4, 10
#: Widths and blocks, the base first; everything that rivals hold fixed is fixed there.
WIDTHS = {"mlp": (32, 128), "gpt2": (16, 64)}
BLOCKS = (2, 8)


class Gpt2(nn.Module):
    """``transformers.GPT2Model`` as it is, on four tokens of two rows; a head on the tokens' mean."""

    embedding, readout = ("embed.", "body.wpe."), "head."

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.embed = nn.Linear(64 // TOKENS, width)
        config = GPT2Config(
            vocab_size=1, n_positions=TOKENS, n_embd=width, n_layer=blocks, n_head=HEADS,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
            bos_token_id=None, eos_token_id=None, attn_implementation="eager",
        )  # fmt: skip
        self.body = GPT2Model(config)
        self.body.wte.weight.requires_grad_(False)  # unused: tokens come as embeddings
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 64)."""
        tokens = self.embed(x.reshape(len(x), TOKENS, -1))
        return self.head(self.body(inputs_embeds=tokens).last_hidden_state.mean(1))

    def branches(self) -> list[nn.Module]:
        """Whose output is added to the stream: attention and MLP of each block."""
        return [part for block in self.body.h for part in (block.attn, block.mlp)]

    def last_norm(self) -> nn.Module:
        """What feeds the head."""
        return self.body.ln_f


Model = ResidualMLP | Gpt2
MODELS: dict[str, type[ResidualMLP] | type[Gpt2]] = {"mlp": ResidualMLP, "gpt2": Gpt2}


@dataclass(frozen=True)
class Cell:
    """A model at a size."""

    model: str
    width: int
    blocks: int

    @property
    def name(self) -> str:
        """For tables and files."""
        return f"{self.model}-{self.width}x{self.blocks}"

    @property
    def base(self) -> Cell:
        """The smallest size of this model."""
        return Cell(self.model, WIDTHS[self.model][0], BLOCKS[0])

    @property
    def m(self) -> float:
        """Width over base width."""
        return self.width / self.base.width

    @property
    def d(self) -> float:
        """Blocks over base blocks."""
        return self.blocks / self.base.blocks

    def make(self, seed: int) -> Model:
        """The model as its author makes it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return MODELS[self.model](self.width, self.blocks)


CELLS = tuple(Cell(model, width, blocks) for model in MODELS for width in WIDTHS[model] for blocks in BLOCKS)


def is_hidden(model: Model, name: str, parameter: nn.Parameter) -> bool:
    """Whether both axes of a parameter grow with the width."""
    return parameter.ndim == 2 and not name.startswith((*model.embedding, model.readout, "body.wte."))


def is_embedding(model: Model, name: str) -> bool:
    """Whether a parameter belongs to the input layer."""
    return name.startswith(model.embedding)
