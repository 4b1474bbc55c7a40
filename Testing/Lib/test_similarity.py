"""Organ embeddings against text embeddings: the paper's rule, calibration, softmax over names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.similarity import embed_texts, finding_score, finding_similarities, name_scores


class Fixed:
    """An encoder that knows its answers."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows.astype(np.float32)

    def encode(self, texts):
        return self.rows[: len(texts)]


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    rows = rng.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(seed=st.integers(0, 10_000), slope=st.floats(0.01, 100))
def test_one_prompt_pair_with_slope_above_0_and_intercept_0_is_the_papers_rule(seed, slope):
    organ, positive, negative = unit(np.random.default_rng(seed), 3, 16)
    larger_wins = float(organ @ positive) > float(organ @ negative)
    a, b = finding_similarities(organ, positive[None], negative[None])
    score = finding_score(a - b, ScoreConfig(slope=slope, intercept=0.0, threshold=0.5))
    assert (score > 0.5) == larger_wins


def test_the_papers_rule_at_a_tie_is_one_half():
    assert finding_score(0.0, ScoreConfig(slope=3.0)) == 0.5


def test_similarities_are_means_of_cosines(rng):
    organ, positive, negative = unit(rng, 8), unit(rng, 3, 8), unit(rng, 5, 8)
    a, b = finding_similarities(organ, positive, negative)
    assert a == pytest.approx(np.mean([np.dot(organ, row) for row in positive]), abs=1e-6)
    assert b == pytest.approx(np.mean([np.dot(organ, row) for row in negative]), abs=1e-6)


def test_a_finding_with_its_own_calibration_uses_it_and_others_the_common_one():
    config = ScoreConfig(slope=2.0, intercept=0.5, by_finding={"fatty_liver": (4.0, -1.0)})
    assert finding_score(0.3, config, "fatty_liver") == pytest.approx(1 / (1 + np.exp(-(4 * 0.3 - 1))))
    for other in ("gallstone", None):
        assert finding_score(0.3, config, other) == pytest.approx(1 / (1 + np.exp(-(2 * 0.3 + 0.5))))


def test_a_score_is_a_probability_even_for_absurd_slopes():
    assert finding_score(2.0, ScoreConfig(slope=1e9)) == pytest.approx(1.0)
    assert 0.0 <= finding_score(-2.0, ScoreConfig(slope=1e9)) < 1e-20


@settings(deadline=None, max_examples=30, derandomize=True)
@given(seed=st.integers(0, 10_000), temperature=st.floats(0.005, 2))
def test_name_scores_sum_to_1_over_names_and_equal_scipys_softmax(seed, temperature):
    similarities = np.random.default_rng(seed).uniform(-1, 1, (4, 104))
    scores = name_scores(similarities, temperature)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(scores, softmax(similarities / temperature, axis=1), rtol=1e-6)
    np.testing.assert_allclose(name_scores(similarities[2], temperature), scores[2], rtol=1e-9)


def test_texts_are_centred_and_of_unit_norm(rng):
    rows, mean = unit(rng, 3, 6), rng.normal(scale=0.1, size=6).astype(np.float32)
    embedded = embed_texts(Fixed(rows), ["a", "b", "c"], mean)
    for row, result in zip(rows, embedded, strict=True):
        np.testing.assert_allclose(result, (row - mean) / np.linalg.norm(row - mean), atol=1e-6)
    assert embedded.dtype == np.float32


def test_a_text_equal_to_the_mean_gives_zeros_not_nan(rng):
    row = unit(rng, 1, 6)
    np.testing.assert_array_equal(embed_texts(Fixed(row), ["a"], row[0]), np.zeros((1, 6), np.float32))


def test_an_encoder_of_another_width_is_refused(rng):
    with pytest.raises(ConfigError, match="trained with text embeddings of length 384, but the text encoder gives 6"):
        embed_texts(Fixed(unit(rng, 2, 6)), ["a", "b"], np.zeros(384, np.float32))
