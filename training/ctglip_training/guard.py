"""What a run refuses: processes that do not see the same data, and losses that are no finite number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ctglip_training.config import TrainConfig
from ctglip_training.distributed import Ranks
from ctglip_training.draw import Place
from ctglip_training.optimise import NotFiniteError
from ctglip_training.store import PoolEntry
from ctglip_training.texts import DictionaryEntry
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.files import write_whole_text

NAN_BATCH = "nan_batch.json"


def check_same_everywhere(
    config: TrainConfig, entries: Sequence[PoolEntry], dictionary: Sequence[DictionaryEntry], ranks: Ranks
) -> None:
    """Nothing if all processes have the same configuration, patients and dictionary.

    Raises:
        ConfigError: else, naming what differs and in which process.
    """
    patients = [_name(entry) for entry in entries]
    own = {"configuration": config, "patients of the pool": patients, "abnormality dictionary": dictionary}
    digests = {what: hashlib.sha256(repr(value).encode()).hexdigest() for what, value in own.items()}
    everyones = ranks.collect(digests)
    for what in own:
        odd = [str(rank) for rank, theirs in enumerate(everyones) if theirs[what] != everyones[0][what]]
        if odd:
            msg = (
                f"All processes of a run must read the same data, but the {what} of process {', '.join(odd)} is not "
                f"that of process 0 ({len(entries)} patients in process {ranks.rank}). Give all machines one pool."
            )
            raise ConfigError(msg)


def stop_not_finite(
    out: Path, step: int, parts: Sequence[Sequence[Place]], error: NotFiniteError, ranks: Ranks
) -> NoReturn:
    """Write the identity of a batch to `nan_batch.json` and stop the run; all processes must call this together.

    The file names patients as the pool does, and what draws their crops and texts again: `ctglip_training.draw`.

    Raises:
        NotFiniteError: always, with the step and the patients.
    """
    own = [
        {
            "patient": _name(place.entry),
            "number": place.number,
            "part": part,
            "process": ranks.rank,
            "seed": [place.seed, place.step, place.number],
        }
        for part, places in enumerate(parts)
        for place in places
    ]
    batch = sorted((one for theirs in ranks.collect(own) for one in theirs), key=lambda one: one["number"])
    facts = {"step": step, "what": str(error), "patients": batch}
    if ranks.first:
        write_whole_text(out / NAN_BATCH, json.dumps(facts, indent=1) + "\n")
    names = ", ".join(str(one["patient"]) for one in batch)
    msg = (
        f"The loss of step {step} is not finite ({error}); patients: {names}. They are listed in {out / NAN_BATCH}; "
        "the last checkpoint is from before. Lower the learning rate, or look at these patients."
    )
    raise NotFiniteError(msg) from error


def _name(entry: PoolEntry) -> str:
    """A patient's name in the pool."""
    return f"{entry.subject}/{entry.path.name}"
