"""What a step trains on: patients, crops and texts, each drawn from (seed, step, number in the batch) alone.

So a resumed run and one of another number of processes draw the same. Guard: test_draw.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from ctglip_training.config import TrainConfig
from ctglip_training.distributed import Ranks
from ctglip_training.samples import Sample, draw_sample
from ctglip_training.store import PoolEntry
from ctglip_training.texts import OrganTextSampler
from CTGLIPLib.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """One of the patients of a step.

    Attributes:
        step: counted from 0.
        number: in the step's batch, all processes together, from 0.
        entry: the patient.
        seed: the run's.
    """

    step: int
    number: int
    entry: PoolEntry
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        """Draws the crop and the texts."""
        return np.random.default_rng([self.seed, self.step, self.number])

    @property
    def generator(self) -> torch.Generator:
        """Draws what the losses draw: voxels, noise."""
        state = np.random.SeedSequence([self.seed, self.step, self.number, 1]).generate_state(2)
        return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


class Drawer:
    """Draws the batches of a run; the crops of the next step are read while the present one is computed.

    Args:
        config: the run.
        entries: its patients.
        sampler: draws their texts.
        ranks: this process gets its share of each batch.

    Raises:
        ConfigError: if the processes cannot share a batch equally.
    """

    def __init__(
        self, config: TrainConfig, entries: Sequence[PoolEntry], sampler: OrganTextSampler, ranks: Ranks
    ) -> None:
        self._config, self._sampler, self._ranks = config, sampler, ranks
        self._by_subject: dict[str, list[PoolEntry]] = {}
        for entry in entries:
            self._by_subject.setdefault(entry.subject, []).append(entry)
        self._subjects = sorted(self._by_subject)
        self._check_shares()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="crops")
        self._ahead: dict[int, Future[list[Sample]]] = {}

    def close(self) -> None:
        """Read no further ahead."""
        self._reader.shutdown(wait=True, cancel_futures=True)

    def batch(self, step: int) -> list[Place]:
        """The patients of a step, of all processes; every subject is drawn equally often, whatever it is made into."""
        rng = np.random.default_rng([self._config.data.seed, step])
        places = []
        for number in range(self._config.optim.batch_of(step)):
            mine = self._by_subject[self._subjects[int(rng.integers(len(self._subjects)))]]
            places.append(Place(step, number, mine[int(rng.integers(len(mine)))], self._config.data.seed))
        return places

    def parts(self, step: int) -> list[list[Place]]:
        """This process's patients in each part of a step; a part's patients are the same for any number of them."""
        optim, ranks = self._config.optim, self._ranks
        batch = self.batch(step)
        size = len(batch) // optim.parts_of(step)
        share = size // ranks.count
        starts = range(ranks.rank * share, len(batch), size)
        return [batch[start : start + share] for start in starts]

    def samples(self, step: int) -> list[list[Sample]]:
        """The crops of each part of a step, as `parts`; those of the next step are begun.

        Raises:
            InputError: if a patient's file is broken.
        """
        drawn = self._ahead.pop(step) if step in self._ahead else self._reader.submit(self._draw, step)
        if step + 1 < self._config.optim.cropped_steps:
            self._ahead[step + 1] = self._reader.submit(self._draw, step + 1)
        samples = iter(drawn.result())
        return [[next(samples) for _ in part] for part in self.parts(step)]

    def example(self, step: int) -> Sample:
        """The first crop of this process in a step, drawn again."""
        place = self.parts(step)[0][0]
        return self._sample(place.entry, place.rng)

    def _draw(self, step: int) -> list[Sample]:
        return [self._sample(place.entry, place.rng) for part in self.parts(step) for place in part]

    def _sample(self, entry: PoolEntry, rng: np.random.Generator) -> Sample:
        return draw_sample(entry, self._config, self._sampler, rng)

    def _check_shares(self) -> None:
        optim, count = self._config.optim, self._ranks.count
        if optim.cropped_steps and optim.batch % (optim.accumulate * count):
            msg = (
                f"{count} processes cannot share parts of {optim.batch // optim.accumulate} patients equally: choose "
                f"batch = {optim.batch} and accumulate = {optim.accumulate}, or their number, so that they divide."
            )
            raise ConfigError(msg)
        if optim.head_steps and optim.head_batch % count:
            msg = f"{count} processes cannot share head_batch = {optim.head_batch} equally; choose a multiple."
            raise ConfigError(msg)
