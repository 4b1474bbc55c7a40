"""Every text that a run can need is embedded before its first step, by all its processes together."""

from __future__ import annotations

from collections.abc import Sequence

from ctglip_training.config import TrainConfig
from ctglip_training.distributed import ALONE, Ranks
from ctglip_training.store import PoolEntry
from ctglip_training.texts import OrganTextSampler, TextTable
from ctglip_training.time_left import TimedProgress


def learn_texts(
    table: TextTable, sampler: OrganTextSampler, entries: Sequence[PoolEntry], config: TrainConfig, ranks: Ranks = ALONE
) -> None:
    """Fill a table that keeps its embeddings; one that does not learns each text when it is drawn."""
    if not table.keeps or config.optim.steps == config.optim.segmentation_steps:
        return
    whole = config.method == "vanilla-clip"
    texts = dict.fromkeys(
        text for entry in entries for text in sampler.possible(entry.study, entry.study.names, whole=whole)
    )
    table.learn(list(texts)[ranks.rank :: ranks.count], TimedProgress())
    if ranks.count > 1:
        ranks.collect(None)  # all have written their share
        table.refresh()
