"""Typed, frozen choices of a fine-tuning, read from a TOML file and kept whole in every checkpoint.

The defaults are nnU-Net's schedule for a convolutional encoder with the paper's 125,000 iterations.
Source: Lin et al. 2024, arXiv:2404.15272v4, section 4.4; Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ctglip_training.config import read_toml
from CTGLIPLib.config import PreprocessConfig, from_dict
from CTGLIPLib.errors import ConfigError

Optimiser = Literal["sgd", "radam"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class PatchConfig:
    """What the network sees.

    Attributes:
        spacing_mm: edge of the isotropic voxels; 0 = the pretrained model's.
        window_hu: HU range mapped to 0..1; empty = the pretrained model's.
        patch_voxels: edge of the crops that are trained on, and of the sliding window.
        overlap: share of a sliding window that its neighbour covers too.
        batch: crops a step.
        foreground: share of a batch's crops that are centred on a labelled voxel of a random class.
        seed: of every random choice; crop number n of a run depends on (seed, n) alone.
    """

    spacing_mm: float = 0.0
    window_hu: tuple[float, ...] = ()
    patch_voxels: int = 128
    overlap: float = 0.5
    batch: int = 2
    foreground: float = 1 / 3
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "window_hu", tuple(float(hu) for hu in self.window_hu))
        _require(self.spacing_mm >= 0, f"patch.spacing_mm must be 0 or more, got {self.spacing_mm}.")
        _require(len(self.window_hu) in {0, 2}, f"patch.window_hu must be [low, high] or [], got {self.window_hu}.")
        _require(self.batch >= 1, f"patch.batch must be at least 1, got {self.batch}.")
        _require(0 <= self.foreground <= 1, f"patch.foreground must lie in 0..1, got {self.foreground}.")


@dataclass(frozen=True)
class AugmentConfig:
    """How far crops are changed; how often is nnU-Net's, see augment.py. Zero switches a change off.

    Attributes:
        rotation_degrees: largest rotation about each axis.
        scaling: smallest and largest zoom.
        mirror: whether crops are mirrored along every axis at random.
        noise_hu: largest standard deviation of added noise.
        blur_voxels: largest sigma of a Gaussian blur.
        brightness_hu: largest shift of all intensities.
        contrast: largest relative change of the distance to the crop's mean.
        coarsest: smallest zoom of the simulated low resolution; 1 = off.
        gamma: smallest and largest exponent.
    """

    rotation_degrees: float = 30.0
    scaling: tuple[float, float] = (0.7, 1.4)
    mirror: bool = True
    noise_hu: float = 30.0
    blur_voxels: float = 1.0
    brightness_hu: float = 20.0
    contrast: float = 0.25
    coarsest: float = 0.5
    gamma: tuple[float, float] = (0.7, 1.5)

    def __post_init__(self) -> None:
        for name in ("scaling", "gamma"):
            pair = tuple(float(value) for value in getattr(self, name))
            _require(len(pair) == 2 and 0 < pair[0] <= pair[1], f"augment.{name} must be [low, high], got {pair}.")
            object.__setattr__(self, name, pair)
        sizes = (self.rotation_degrees, self.noise_hu, self.blur_voxels, self.brightness_hu, self.contrast)
        _require(min(sizes) >= 0, "augment: no change can be smaller than 0.")
        _require(0 < self.coarsest <= 1, f"augment.coarsest must lie in 0..1, got {self.coarsest}.")

    @property
    def moves_voxels(self) -> bool:
        """Whether crops are rotated or scaled."""
        return self.rotation_degrees > 0 or self.scaling != (1.0, 1.0)


@dataclass(frozen=True)
class ScheduleConfig:
    """The optimiser: polynomial decay from `lr` to 0 over `steps`.

    Attributes:
        optimiser: "sgd" (Nesterov; nnU-Net) or "radam" (the paper's for MiT).
        lr: first learning rate.
        momentum: of sgd.
        weight_decay: L2 penalty.
        power: of the decay, lr * (1 - step / steps) ** power.
        clip_norm: largest gradient norm.
        steps: batches.
        frozen_encoder_steps: first steps in which the encoder does not learn, the decoder and the heads do.
        deep_supervision: whether every level of the decoder has a loss.
        bf16: forward passes in bfloat16.
    """

    optimiser: Optimiser = "sgd"
    lr: float = 1e-2
    momentum: float = 0.99
    weight_decay: float = 3e-5
    power: float = 0.9
    clip_norm: float = 12.0
    steps: int = 125_000
    frozen_encoder_steps: int = 0
    deep_supervision: bool = True
    bf16: bool = False

    def __post_init__(self) -> None:
        known = ", ".join(get_args(Optimiser))
        _require(self.optimiser in get_args(Optimiser), f"optimiser must be one of {known}, got {self.optimiser!r}.")
        _require(self.steps >= 1, f"schedule.steps must be at least 1, got {self.steps}.")
        _require(self.lr > 0 and self.clip_norm > 0, "schedule.lr and schedule.clip_norm must be positive.")


@dataclass(frozen=True)
class FinetuneConfig:
    """One fine-tuning, the same for every initialisation.

    Attributes:
        name: of the models that it makes.
        backbone: a name in `CTGLIPLib.backbones.BACKBONES`; "" = the pretrained model's, with its input channels.
        coordinates: whether the position in the body is an input too; counts only where `backbone` is given.
        detection_ml: smallest tumour volume that is called a detection.
        save_every: steps between checkpoints.
    """

    name: str = "tumor"
    backbone: str = ""
    coordinates: bool = False
    detection_ml: float = 0.1
    save_every: int = 250
    patch: PatchConfig = PatchConfig()
    augment: AugmentConfig = AugmentConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @property
    def preprocess(self) -> PreprocessConfig:
        """The same for inference; of a configuration whose spacing and window are known."""
        low, high = self.patch.window_hu
        return PreprocessConfig(self.patch.spacing_mm, (low, high), self.patch.patch_voxels, self.patch.overlap)


def read_finetune_config(path: Path) -> FinetuneConfig:
    """The fine-tuning that a TOML file describes; it names only what differs from the defaults.

    Raises:
        ConfigError: if the file is missing, no TOML, or has unknown keys or values.
    """
    return from_dict(FinetuneConfig, read_toml(path, "a fine-tuning", "finetune.toml"), where=path.name)
