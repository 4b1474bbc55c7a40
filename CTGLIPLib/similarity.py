"""Comparing organ embeddings with text embeddings, in numpy: cosine, prompt pairs, scores.

Source: Lin et al. 2024, arXiv:2404.15272v4, section 4.3 (zero-shot organ recognition and abnormality detection).
Differs from the paper: sets of prompts instead of one pair, and a calibrated score; with one pair, slope > 0,
intercept 0 and threshold 0.5 it is the paper's rule, the larger similarity wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import ConfigError


@runtime_checkable
class EncodesText(Protocol):
    """Anything that turns sentences into unit-norm rows."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32, shape (text, dim)."""
        ...


def embed_texts(encoder: EncodesText, texts: Sequence[str], text_mean: np.ndarray) -> np.ndarray:
    """Text embeddings as the model was trained on them: centred, unit norm, float32, shape (text, dim).

    Raises:
        ConfigError: if the encoder's embeddings have another length than those that the model was trained with.
    """
    embeddings = encoder.encode(texts)
    if embeddings.shape[1:] != text_mean.shape:
        msg = (
            f"The model was trained with text embeddings of length {text_mean.size}, but the text encoder gives "
            f"{embeddings.shape[1]}. Give the text encoder that `ctglip model show` names."
        )
        raise ConfigError(msg)
    centred = embeddings - text_mean
    return (centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-12)).astype(np.float32)


def finding_similarities(embedding: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """Mean cosine of one organ with the positive and with the negative prompts.

    Args:
        embedding: unit norm, shape (dim,).
        positive: unit norm, shape (prompt, dim).
        negative: unit norm, shape (prompt, dim).
    """
    return float((positive @ embedding).mean()), float((negative @ embedding).mean())


def finding_score(margin: float, config: ScoreConfig, finding: str | None = None) -> float:
    """Probability of a finding from its similarity margin (positive minus negative prompts)."""
    slope, intercept = config.by_finding.get(finding or "", (config.slope, config.intercept))
    return float(1.0 / (1.0 + np.exp(-np.clip(slope * margin + intercept, -60, 60))))


def name_scores(similarities: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax over the last axis (names), shape unchanged; each row sums to 1."""
    logits = similarities / temperature
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
