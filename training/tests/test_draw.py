"""What a step draws: the same for any number of processes, shared equally, every subject as often."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from training_phantom import smoke_config

from ctglip_training.config import OptimConfig
from ctglip_training.distributed import Ranks
from ctglip_training.draw import Drawer
from ctglip_training.store import list_pool
from ctglip_training.texts import OrganTextSampler, build_dictionary
from CTGLIPLib.errors import ConfigError

SAMPLER = OrganTextSampler(build_dictionary((), 64, seed=0), 2)
OPTIM = OptimConfig(batch=8, accumulate=2, segmentation_steps=5, contrast_steps=5, head_steps=3, head_batch=4)


def drawer(pool, rank: int = 0, count: int = 1, **changes) -> Drawer:
    config = smoke_config(pool, optim=replace(OPTIM, **changes))
    return Drawer(config, list_pool(pool), SAMPLER, Ranks(rank, count))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_processes_share_the_parts_of_a_batch_without_gap_or_overlap(pool, count):
    numbers = [[[p.number for p in part] for part in drawer(pool, r, count).parts(0)] for r in range(count)]
    for part, expected in enumerate((range(4), range(4, 8))):
        assert [number for rank in numbers for number in rank[part]] == list(expected)
    assert [p.number for r in range(count) for part in drawer(pool, r, count).parts(11) for p in part] == [0, 1, 2, 3]


def test_a_patient_its_crop_and_its_random_numbers_are_the_same_in_any_process(pool):
    alone, second = drawer(pool), drawer(pool, 1, 2)
    part, own = alone.parts(3)[1], second.parts(3)[1]
    assert [place.entry.path for place in part[2:]] == [place.entry.path for place in own]
    sample, theirs = alone.samples(3)[1][2], second.samples(3)[1][0]
    assert torch.equal(sample.image, theirs.image)
    assert sample.texts == theirs.texts
    draws = [torch.rand(3, generator=place.generator) for place in (part[2], own[0], part[3])]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    alone.close()
    second.close()


def test_crops_read_ahead_are_those_read_on_time(pool):
    ahead, late = drawer(pool), drawer(pool)
    ahead.samples(0)
    for ours, theirs in zip(ahead.samples(1), late.samples(1), strict=True):
        assert all(torch.equal(a.image, b.image) for a, b in zip(ours, theirs, strict=True))
    ahead.close()
    late.close()


def test_subjects_with_few_patients_are_drawn_as_often(pool):
    entries = list_pool(pool)
    few = [entry for entry in entries if entry.subject == "alpha"] + [e for e in entries if e.subject == "beta"][:1]
    drawn = Drawer(smoke_config(pool, optim=OPTIM), few, SAMPLER, Ranks())
    counts = Counter(place.entry.subject for step in range(100) for place in drawn.batch(step))
    assert counts["beta"] == pytest.approx(220, abs=45)


@pytest.mark.parametrize(
    ("count", "changes", "words"), [(3, {}, "cannot share parts of 4"), (2, {"head_batch": 3}, "head_batch = 3")]
)
def test_a_batch_that_the_processes_cannot_share_is_refused(pool, count, changes, words):
    with pytest.raises(ConfigError, match=words):
        drawer(pool, 0, count, **changes)
