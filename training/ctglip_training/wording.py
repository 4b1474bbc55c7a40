"""Which texts of organs say the same, so that one is no negative of the other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import torch
from torch import Tensor

_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_SIDE_OF_ORGAN = re.compile(r"_(left|right)(?=_|$)")


def same_texts(texts: Sequence[str]) -> Tensor:
    """Bool, shape (text, text): pairs of equal texts."""
    numbers = wording_numbers(texts)
    return numbers[:, None] == numbers[None]


def same_but_for_side(texts: Sequence[str], organs: Sequence[str]) -> Tensor:
    """Bool, shape (text, text): equal texts, and those of a left and a right organ that are equal up to the side."""
    pairs = [_SIDE_OF_ORGAN.sub("", organ) for organ in organs]
    sideless = [f"{pair}: {_SIDE.sub('', text)}" for pair, text in zip(pairs, texts, strict=True)]
    return same_texts(texts) | same_texts(sideless)


def wording_numbers(texts: Sequence[str]) -> Tensor:
    """Int64, shape (text,): a number of each text that is the same in every process."""
    digests = [hashlib.sha256(text.encode()).digest()[:7] for text in texts]
    return torch.tensor([int.from_bytes(digest, "big") for digest in digests], dtype=torch.int64)
