"""Modules of other people's packages, as those packages build them, and inputs that they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

#: Rows of a table, pixels of an image, classes.
COLUMNS, SIDE, CLASSES = 12, 8, 3
VOCABULARY, TOKENS = 24, 6


@dataclass(frozen=True)
class Other:
    """A class of another package.

    Attributes
    ----------
    package, name
        Distribution on PyPI, and the class.
    kind
        Of the inputs: ``"table"``, ``"mixed"`` (numbers and categories), ``"tokens"``, ``"mask"`` (tokens with a mask,
        as keywords) or ``"image"``.
    build
        From the imported module, the width and the number of blocks.
    module
        To import, where it is not the package's name.
    """

    package: str
    name: str
    kind: str
    build: Callable[[Any, int, int], nn.Module]
    module: str = ""

    def make(self, width: int, blocks: int = 2, seed: int = 0) -> nn.Module:
        """The model as its package initialises it; skips the test where the package is absent."""
        library = pytest.importorskip(self.module or self.package.replace("-", "_"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(library, width, blocks)


def _gpt2(library: Any, width: int, blocks: int) -> nn.Module:
    config = library.GPT2Config(
        vocab_size=VOCABULARY, n_positions=TOKENS, n_embd=width, n_layer=blocks, n_head=4, num_labels=CLASSES,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return library.GPT2ForSequenceClassification(config)


def _llama(library: Any, width: int, blocks: int) -> nn.Module:
    config = library.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=blocks,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=TOKENS, num_labels=CLASSES,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return library.LlamaForSequenceClassification(config)


def _bert(library: Any, width: int, blocks: int) -> nn.Module:
    config = library.BertConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=blocks, num_attention_heads=4,
        intermediate_size=2 * width, max_position_embeddings=TOKENS, num_labels=CLASSES, pad_token_id=0,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return library.BertForSequenceClassification(config)


def _mlp(library: Any, width: int, blocks: int) -> nn.Module:
    return library.MLP(d_in=COLUMNS, d_out=CLASSES, n_blocks=blocks, d_block=width, dropout=0.1)


def _resnet(library: Any, width: int, blocks: int) -> nn.Module:
    return library.ResNet(
        d_in=COLUMNS, d_out=CLASSES, n_blocks=blocks, d_block=width, d_hidden=None, d_hidden_multiplier=2.0,
        dropout1=0.1, dropout2=0.0,
    )  # fmt: skip


def _ft_transformer(library: Any, width: int, blocks: int) -> nn.Module:
    return library.FTTransformer(
        n_cont_features=COLUMNS // 2, cat_cardinalities=[4, 5], d_out=CLASSES, n_blocks=blocks, d_block=width,
        attention_n_heads=4, attention_dropout=0.1, ffn_d_hidden=None, ffn_d_hidden_multiplier=2.0, ffn_dropout=0.1,
        residual_dropout=0.0,
    )  # fmt: skip


def _embedded(library: Any, width: int, blocks: int) -> nn.Module:
    hidden = [layer for _ in range(blocks - 1) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(
        library.LinearReLUEmbeddings(COLUMNS, width), nn.Flatten(), nn.Linear(COLUMNS * width, width), nn.ReLU(), *hidden,
        nn.Linear(width, CLASSES),
    )  # fmt: skip


def _periodic(library: Any, width: int, blocks: int) -> nn.Module:
    hidden = [layer for _ in range(blocks - 1) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(
        library.PeriodicEmbeddings(COLUMNS, width, frequency_init_scale=0.1, lite=False), nn.Flatten(),
        nn.Linear(COLUMNS * width, width), nn.ReLU(), *hidden, nn.Linear(width, CLASSES),
    )  # fmt: skip


def _mixer(library: Any, width: int, blocks: int) -> nn.Module:
    return library.MLPMixer(
        image_size=SIDE, channels=1, patch_size=4, dim=width, depth=blocks, num_classes=CLASSES, dropout=0.1
    )


def _decoder(library: Any, width: int, blocks: int) -> nn.Module:
    layers = library.Decoder(dim=width, depth=blocks, heads=4, attn_dim_head=width // 4, use_rmsnorm=True)
    return library.TransformerWrapper(num_tokens=VOCABULARY, max_seq_len=TOKENS, attn_layers=layers)


def _vision(library: Any, width: int, blocks: int) -> nn.Module:
    layers = library.Encoder(dim=width, depth=blocks, heads=4, attn_dim_head=width // 4)
    return library.ViTransformerWrapper(
        image_size=SIDE, patch_size=4, channels=1, num_classes=CLASSES, attn_layers=layers
    )


ZOO = [
    Other("rtdl_revisiting_models", "MLP", "table", _mlp),
    Other("rtdl_revisiting_models", "ResNet", "table", _resnet),
    Other("rtdl_revisiting_models", "FTTransformer", "mixed", _ft_transformer),
    Other("rtdl_num_embeddings", "LinearReLUEmbeddings", "table", _embedded),
    Other("rtdl_num_embeddings", "PeriodicEmbeddings", "table", _periodic),
    Other("mlp-mixer-pytorch", "MLPMixer", "image", _mixer),
    Other("transformers", "GPT2ForSequenceClassification", "mask", _gpt2),
    Other("transformers", "LlamaForSequenceClassification", "mask", _llama),
    Other("transformers", "BertForSequenceClassification", "mask", _bert),
    Other("x-transformers", "TransformerWrapper", "tokens", _decoder),
    Other("x-transformers", "ViTransformerWrapper", "image", _vision),
]
