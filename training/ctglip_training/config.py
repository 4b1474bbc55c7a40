"""Typed, frozen choices of a training run, read from a TOML file and kept whole in every checkpoint."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from CTGLIPLib.config import ModelConfig, PreprocessConfig, TextConfig, from_dict
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.organs import ORGANS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports] - only Python 3.10 needs it

Method = Literal["ct-glip", "vanilla-clip"]
Suspected = Literal["left-out", "abnormal"]
SPLITS = ("train", "val", "test")
Precision = Literal["fp32", "bf16"]
Parallel = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class DataConfig:
    """Where the patients come from.

    Attributes:
        pool: folder of prepared patients (`ctglip-train simulate` or `prepare`).
        more_pools: further such folders, whose patients are drawn as often as those of `pool`.
        hold_out: subjects of the pools that this run must never see.
        splits: of those studies that are split, the ones to train on; studies of no split always are.
        dictionary: abnormality dictionary of `ctglip-train dictionary`; empty = made of the run's own patients.
        suspected: what an organ gets of which a report only suspects a finding: "left-out" no text, "abnormal" the
            report's. Either way what is suspected is never called false.
        crop_voxels: edge of the crops that are trained on, in voxels of the model's spacing.
        seed: of every random choice; choice number n of step s depends on (seed, s, n) alone.
    """

    pool: str = "runs/pool"
    more_pools: tuple[str, ...] = ()
    hold_out: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("train",)
    dictionary: str = ""
    suspected: Suspected = "left-out"
    crop_voxels: int = 72
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("more_pools", "hold_out", "splits"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = sorted(set(self.splits) - set(SPLITS))
        if unknown or not self.splits:
            msg = f"splits must be one or more of {', '.join(SPLITS)}, got {', '.join(unknown) or 'none'}."
            raise ConfigError(msg)
        if self.suspected not in get_args(Suspected):
            msg = f"suspected must be one of {', '.join(get_args(Suspected))}, got {self.suspected!r}."
            raise ConfigError(msg)

    @property
    def pools(self) -> tuple[Path, ...]:
        """The folders of all pools."""
        return tuple(Path(folder) for folder in (self.pool, *self.more_pools))


@dataclass(frozen=True)
class LossConfig:
    """Which losses, and their weights.

    Attributes:
        anatomy: weight of Eq. 2.
        diagnosis: weight of Eq. 3.
        segmentation: weight of cross-entropy + Dice.
        own_negatives: weight of our loss of each organ's text against false ones about that organ; 0 = the paper.
        dictionary_texts: T, abnormal texts drawn from the dictionary for each normal organ.
        dictionary_size: entries of the abnormality dictionary.
        segmentation_voxels: random voxels of a crop that the segmentation loss looks at; 0 = all of them, the paper.
        symmetric_same: a left and a right organ whose texts say the same up to the side are no negatives of each other;
            False = the paper.
        same_reports: patients with the same report are no negatives of each other (vanilla CLIP); False = the baseline.
        cross_patient: weight of our contrast of each organ across the patients of a batch; 0 = the paper.
        learn_temperature: learn tau from 0.07 on; False keeps 0.07.
        descriptor_noise: noise added to standardised descriptors, against learning the few real subjects by heart.
        descriptor_dropout: share of a descriptor's values that is dropped; 0 = the paper, as for the noise.
        centre_texts: subtract the mean text embedding, which widens the margins between alike sentences.
    """

    anatomy: float = 0.5
    diagnosis: float = 0.5
    segmentation: float = 1.0
    own_negatives: float = 0.0
    dictionary_texts: int = 2
    dictionary_size: int = 512
    segmentation_voxels: int = 20_000
    symmetric_same: bool = False
    same_reports: bool = False
    cross_patient: float = 0.0
    learn_temperature: bool = True
    centre_texts: bool = True
    descriptor_noise: float = 0.0
    descriptor_dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.segmentation_voxels < 0 or self.cross_patient < 0:
            msg = (
                "segmentation_voxels and cross_patient must be 0 or more, "
                f"got {self.segmentation_voxels} and {self.cross_patient}."
            )
            raise ConfigError(msg)


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser: Adam with a cosine from `lr` to `final_lr` in each stage (the paper's values).

    Attributes:
        lr: first learning rate.
        final_lr: last learning rate.
        weight_decay: L2 penalty of Adam.
        clip_norm: largest gradient norm.
        batch: patients a step, of all processes together.
        accumulate: parts that a step's batch is computed in, one after the other, so that less memory is needed. What
            compares patients (vanilla CLIP, `cross_patient`) then compares those of a part.
        segmentation_steps: steps of stage 1.
        contrast_steps: steps of stage 2.
        head_steps: further steps of stage 2 in which only the projection learns, from descriptors of whole patients
            computed once: thousands in a minute, for machines on which stage 2 must be short. 0 = the paper.
        head_batch: patients a step of those.
    """

    lr: float = 1e-3
    final_lr: float = 1e-6
    weight_decay: float = 3e-5
    clip_norm: float = 5.0
    batch: int = 8
    accumulate: int = 1
    segmentation_steps: int = 1000
    contrast_steps: int = 1000
    head_steps: int = 0
    head_batch: int = 8

    def __post_init__(self) -> None:
        if min(self.batch, self.head_batch) < 1 or self.lr <= 0:
            msg = f"batch, head_batch and lr must be above 0, got {self.batch}, {self.head_batch} and {self.lr}."
            raise ConfigError(msg)
        if min(self.segmentation_steps, self.contrast_steps, self.head_steps) < 0:
            msg = "segmentation_steps, contrast_steps and head_steps must be 0 or more, got less."
            raise ConfigError(msg)
        if self.accumulate < 1 or self.batch % self.accumulate:
            msg = f"accumulate must be 1 or more and divide batch = {self.batch}, got {self.accumulate}."
            raise ConfigError(msg)

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self.segmentation_steps + self.contrast_steps + self.head_steps

    @property
    def cropped_steps(self) -> int:
        """Steps that train on crops: those of stages 1 and 2 before the head's."""
        return self.segmentation_steps + self.contrast_steps

    @property
    def stage_ends(self) -> tuple[int, int, int]:
        """How many steps are done at the end of each stage."""
        return (self.segmentation_steps, self.cropped_steps, self.steps)

    def batch_of(self, step: int) -> int:
        """Patients of a step, counted from 0."""
        return self.batch if step < self.cropped_steps else self.head_batch

    def parts_of(self, step: int) -> int:
        """Parts that a step's batch is computed in."""
        return self.accumulate if step < self.cropped_steps else 1

    def samples_after(self, step: int) -> int:
        """Patients drawn in the first `step` steps."""
        cropped = min(step, self.cropped_steps)
        return cropped * self.batch + (step - cropped) * self.head_batch


@dataclass(frozen=True)
class ComputeConfig:
    """How a run is computed, not what: a stopped run may be resumed with other values.

    Attributes:
        precision: "fp32", or "bf16" for the backbone under autocast; pooling, losses and weights stay in fp32.
        checkpoint_activations: keep the activations of stage borders alone and compute the others again on the way
            back: about a third more time for much less memory.
        parallel: with several processes, "ddp" holds the whole network in each, "fsdp" a share of the backbone.

    Raises:
        ConfigError: if there is no such precision or kind.
    """

    precision: Precision = "fp32"
    checkpoint_activations: bool = False
    parallel: Parallel = "ddp"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("precision", self.precision, get_args(Precision)),
            ("parallel", self.parallel, get_args(Parallel)),
        ):
            if value not in known:
                msg = f"{name} must be one of {', '.join(known)}, got {value!r}."
                raise ConfigError(msg)


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        name: of the model that it makes.
        method: "ct-glip" (organ by organ) or "vanilla-clip" (whole image and whole report).
        init_from: "" for random weights, "nnunet:FOLDER" for an nnU-Net v2 results folder, "run:FOLDER" for the
            backbone and segmentation head of another run, "stage1:FOLDER" for those as its first stage left them.
        save_every: steps between checkpoints.
        picture_every: steps between example pictures in TensorBoard; 0 = none.
        model: the network; an empty `segmentation_organs` becomes the whole vocabulary.

    Raises:
        ConfigError: if there is no such method.
    """

    name: str = "unnamed"
    method: Method = "ct-glip"
    init_from: str = ""
    save_every: int = 50
    picture_every: int = 100
    data: DataConfig = DataConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    model: ModelConfig = ModelConfig()
    text: TextConfig = TextConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    compute: ComputeConfig = ComputeConfig()

    def __post_init__(self) -> None:
        if self.save_every < 1 or self.picture_every < 0:
            msg = (
                f"save_every must be 1 or more and picture_every 0 or more, got {self.save_every} and "
                f"{self.picture_every}."
            )
            raise ConfigError(msg)
        if self.method not in get_args(Method):
            msg = f"method must be one of {', '.join(get_args(Method))}, got {self.method!r}."
            raise ConfigError(msg)
        if not self.model.segmentation_organs:
            names = tuple(organ.name for organ in ORGANS)
            object.__setattr__(self, "model", replace(self.model, segmentation_organs=names))


def read_config(path: Path) -> TrainConfig:
    """The run that a TOML file describes; it names only what differs from the defaults.

    Raises:
        ConfigError: if the file is missing, no TOML, or has unknown keys or values.
    """
    return from_dict(TrainConfig, read_toml(path, "a training run", "default.toml"), where=path.name)


def read_toml(path: Path, what: str, example: str) -> dict[str, Any]:
    """The values of a TOML file.

    Args:
        path: the file.
        what: what it should hold, in words.
        example: a file of training/configs that does.

    Raises:
        ConfigError: if the file is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # no TOML, or no UTF-8
        msg = f"Expected a TOML file with {what} at {path}: {error}. See training/configs/{example}."
        raise ConfigError(msg) from error
