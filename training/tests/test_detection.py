"""Detection by tumour volume: the AUC, what is called, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ctglip_training.evaluation.detection import detection_figures
from CTGLIPLib.errors import InputError


def test_the_volume_is_the_score_of_the_auc(rng):
    has_tumour = rng.random(60) < 0.5
    volumes = np.maximum(0.0, rng.normal(200.0, 300.0, 60) + 400.0 * has_tumour)
    found = detection_figures(volumes, has_tumour, smallest_mm3=100.0, repeats=200)
    assert found.auc.value == pytest.approx(roc_auc_score(has_tumour, volumes), abs=1e-12)
    assert found.sensitivity.value == pytest.approx((volumes >= 100)[has_tumour].mean())
    assert found.specificity.value == pytest.approx((volumes < 100)[~has_tumour].mean())
    assert found.auc.low < found.auc.value < found.auc.high
    assert (found.patients, found.with_tumour) == (60, has_tumour.sum())


def test_an_empty_segmentation_is_never_called():
    found = detection_figures(np.array([0.0, 5.0]), np.array([False, True]), smallest_mm3=0.0, repeats=10)
    assert (found.sensitivity.value, found.specificity.value) == (1.0, 1.0)


@pytest.mark.parametrize("volumes", [[], [1.0], [1.0, -1.0], [1.0, np.nan]])
def test_volumes_that_are_none_are_refused(volumes):
    with pytest.raises(InputError, match="Expected a volume of 0 mm3 or more and a truth for each patient"):
        detection_figures(np.array(volumes), np.array([True, False]))
