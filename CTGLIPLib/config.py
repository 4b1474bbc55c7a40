"""Typed, frozen choices that travel with a model's weights.

Everything that inference needs to know about a model is read from its `config.json` and from nowhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from CTGLIPLib.errors import ConfigError

T = TypeVar("T")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class PreprocessConfig:
    """How a CT becomes the network's input.

    Attributes:
        spacing_mm: edge of the isotropic voxels that the network sees.
        window_hu: HU range mapped to [0, 1] and clipped.
        patch_voxels: edge of the largest window that goes through the network at once.
        overlap: share of a window that its neighbour covers too, 0 to 0.9.
        min_organ_voxels: organs with fewer voxels at `spacing_mm` are `too_small` and not scored.
    """

    spacing_mm: float = 1.5
    window_hu: tuple[float, float] = (-1000.0, 1000.0)
    patch_voxels: int = 128
    overlap: float = 0.5
    min_organ_voxels: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "window_hu", tuple(float(hu) for hu in self.window_hu))
        _require(self.spacing_mm > 0, f"spacing_mm must be positive, got {self.spacing_mm}.")
        ordered = len(self.window_hu) == 2 and self.window_hu[0] < self.window_hu[1]
        _require(ordered, f"window_hu must be (low, high), got {self.window_hu}.")
        _require(self.patch_voxels >= 16, f"patch_voxels must be at least 16, got {self.patch_voxels}.")
        _require(0 <= self.overlap <= 0.9, f"overlap must lie in 0..0.9, got {self.overlap}.")
        _require(self.min_organ_voxels >= 1, f"min_organ_voxels must be at least 1, got {self.min_organ_voxels}.")


@dataclass(frozen=True)
class ModelConfig:
    """The network. With every option off this is the paper's model.

    Attributes:
        backbone: a name in `CTGLIPLib.backbones.BACKBONES`.
        segmentation_organs: organs of the segmentation head, in the order of its outputs 1, 2, ...
        text_dim: width of the text embeddings and so of the organ embeddings.
        hidden_dim: hidden width of the projection (the paper: 768).
        coordinates: two more input channels, the position right/left and front/back of the body's middle.
        intensity: pool soft histograms of HU beside the features (see intensity.py).
        power_mean: pool the 4-norm of the features beside their mean, which small findings move more.
        geometry: describe the organ's volume, extent and position beside its features.
        core_and_shell: describe what stands out of the organ's core, and what lies around it (see core_and_shell.py).
        descriptor_limit: standardised descriptors are cut to plus and minus this, so that what training never saw does
            not outweigh all else in a stranger; 0 = no limit.
    """

    backbone: str = "paper"
    segmentation_organs: tuple[str, ...] = ()
    text_dim: int = 768
    hidden_dim: int = 768
    coordinates: bool = False
    intensity: bool = False
    power_mean: bool = False
    geometry: bool = False
    core_and_shell: bool = False
    descriptor_limit: float = 0.0

    def __post_init__(self) -> None:
        names = self.segmentation_organs
        _require(not isinstance(names, str), f"segmentation_organs must be a list of names, got {names!r}.")
        object.__setattr__(self, "segmentation_organs", tuple(names))
        _require(self.descriptor_limit >= 0, f"descriptor_limit must be 0 or more, got {self.descriptor_limit}.")
        _require(self.text_dim > 0 and self.hidden_dim > 0, "text_dim and hidden_dim must be positive.")

    @property
    def input_channels(self) -> int:
        """CT, then the two coordinates where they are on."""
        return 3 if self.coordinates else 1


@dataclass(frozen=True)
class TextConfig:
    """The frozen text encoder a model was trained with.

    Attributes:
        encoder: name in `CTGLIPLib.text.TEXT_ENCODERS`, a Hugging Face name, or a folder.
        revision: its revision, for hub encoders.
    """

    encoder: str = "bio_clinicalbert"
    revision: str = "main"


@dataclass(frozen=True)
class ScoreConfig:
    """How a similarity margin becomes a score and an answer.

    A finding's score is sigmoid(slope * margin + intercept), where margin = mean similarity to the positive prompts
    minus mean similarity to the negative ones. The paper's rule, the larger similarity wins, is slope > 0,
    intercept = 0, threshold = 0.5.

    Attributes:
        slope: steepness, per unit of similarity.
        intercept: shift of the logit.
        threshold: a finding is answered `found` from this score on.
        temperature: divides similarities in the softmax over organ names.
        by_finding: finding id -> (slope, intercept) where it was calibrated on its own.
        calibrated_on: what the calibration was fitted on, in words; empty = not calibrated.
    """

    slope: float = 1.0 / 0.07
    intercept: float = 0.0
    threshold: float = 0.5
    temperature: float = 0.07
    by_finding: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    calibrated_on: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_finding", {k: (float(a), float(b)) for k, (a, b) in self.by_finding.items()})
        _require(0 < self.threshold < 1, f"threshold must lie between 0 and 1, got {self.threshold}.")
        _require(self.temperature > 0, f"temperature must be positive, got {self.temperature}.")


@dataclass(frozen=True)
class Config:
    """All that is kept in a model's `config.json` beside its schema version and checksums."""

    name: str = "unnamed"
    preprocess: PreprocessConfig = PreprocessConfig()
    model: ModelConfig = ModelConfig()
    text: TextConfig = TextConfig()
    score: ScoreConfig = ScoreConfig()


def to_dict(config: object) -> dict[str, Any]:
    """A dataclass as plain JSON values."""
    return dataclasses.asdict(config)  # type: ignore[call-overload]


def from_dict(kind: type[T], values: object, where: str = "config") -> T:
    """A dataclass of `kind` from plain JSON values.

    Raises:
        ConfigError: for a key that `kind` does not have, a value that is out of range, or one of the wrong type;
            or if `values` is no mapping of names to values.
    """
    if not isinstance(values, Mapping):
        msg = f"{where} must be a table of named values, got {values!r}."
        raise ConfigError(msg)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        msg = f"Unknown keys in {where}: {', '.join(unknown)}. Known are {', '.join(fields)}."
        raise ConfigError(msg)
    ready: dict[str, Any] = {}
    for name, value in values.items():
        default = fields[name].default
        if dataclasses.is_dataclass(default) and not isinstance(default, type) and not isinstance(value, type(default)):
            ready[name] = from_dict(type(default), value, f"{where}.{name}")
        else:
            _require_plain(f"{where}.{name}", fields[name].type, value)
            ready[name] = _lists_as_tuples(value)
    try:
        return kind(**ready)
    except (AttributeError, TypeError, ValueError) as error:
        msg = f"A value in {where} has the wrong type: {error}. Check it against docs/file_formats.md."
        raise ConfigError(msg) from error


def _require_plain(name: str, declared: object, value: object) -> None:
    """Raise ConfigError if a value is not of the plain type that its field declares; other types check themselves."""
    words: dict[object, tuple[str, type | tuple[type, ...]]] = {
        "int": ("a whole number", int),
        "float": ("a number", (int, float)),
        "bool": ("true or false", bool),
        "str": ("a text", str),
    }
    wanted, types = words.get(declared, ("", object))
    mixed_up = isinstance(value, bool) and declared in {"int", "float"}  # Python's True is an int
    if mixed_up or not isinstance(value, types) or value != value:  # noqa: PLR0124 - NaN
        msg = f"{name} must be {wanted}, got {value!r}."
        raise ConfigError(msg)


def _lists_as_tuples(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value with tuples, which the configurations hold, where JSON knows lists only."""
    if isinstance(value, list):
        return tuple(_lists_as_tuples(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _lists_as_tuples(item) for key, item in value.items()}
    return value
