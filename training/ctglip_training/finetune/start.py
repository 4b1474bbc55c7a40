"""What a fine-tuning starts from: fresh weights, or the vision encoder of a pretrained model.

Guard: test_finetune_train.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, TypeVar

import torch

from ctglip_training.finetune.config import FinetuneConfig
from ctglip_training.state import load_run_weights, read_run_config
from CTGLIPLib.checkpoint import load_network, open_model_folder
from CTGLIPLib.config import ModelConfig, PreprocessConfig
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.tumor_model import TumorSegmenter, take_backbone

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
"""Names are folders of the results."""
SCRATCH = "scratch"


@dataclass(frozen=True, eq=False)
class Start:
    """An initialisation.

    Attributes:
        name: what the table calls it.
        source: "scratch", "run:FOLDER" of a pretraining, or "model:FOLDER".
        pretrained: the pretrained network; None for fresh weights.
        preprocess: what it was pretrained with; None for fresh weights.
    """

    name: str
    source: str
    pretrained: GroundedEncoder | None = None
    preprocess: PreprocessConfig | None = None

    @property
    def model(self) -> ModelConfig | None:
        """The pretrained network's configuration."""
        return None if self.pretrained is None else self.pretrained.config

    @property
    def identity(self) -> str:
        """A hash of the weights that are taken, so that a run is not resumed with others."""
        digest = hashlib.sha256()
        if self.pretrained is not None:
            for name, tensor in sorted(self.pretrained.backbone.state_dict().items()):
                digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:20]

    @property
    def words(self) -> str:
        """What a model's card says of it: the folder's name, no path."""
        folder = Path(self.source.partition(":")[2]).name
        return self.name if self.pretrained is None else f"{self.name} ({folder}, weights {self.identity})"


def read_starts(asked: Sequence[str]) -> tuple[Start, ...]:
    """The initialisations of `--init`.

    Args:
        asked: "scratch", or NAME=run:FOLDER, or NAME=model:FOLDER.

    Raises:
        ConfigError: if one is neither, two have one name, or their vision encoders differ.
        CheckpointError: if a folder holds no such run or model.
    """
    starts = tuple(_read_start(text) for text in asked)
    names = [start.name for start in starts]
    if not starts or len(set(names)) != len(names):
        msg = f"Expected one or more initialisations with names of their own, got {', '.join(names) or 'none'}."
        raise ConfigError(msg)
    encoders = {(s.model.backbone, s.model.coordinates) for s in starts if s.model is not None}
    if len(encoders) > 1:
        shown = "; ".join(f"{backbone}, coordinates={coordinates}" for backbone, coordinates in sorted(encoders))
        msg = f"Initialisations can be compared only where they share one vision encoder, got {shown}."
        raise ConfigError(msg)
    return starts


def resolved(config: FinetuneConfig, starts: Sequence[Start]) -> FinetuneConfig:
    """The configuration with the backbone, spacing and window that it leaves to the pretrained models.

    Raises:
        ConfigError: if there is no pretrained model to take them from, two of them differ, or the backbone is another.
    """
    pretrained = [(s.model, s.preprocess) for s in starts if s.model is not None and s.preprocess is not None]
    patch = config.patch
    if not config.backbone:
        if not pretrained:
            _nothing_to_take("backbone")
        model, _ = pretrained[0]
        config = replace(config, backbone=model.backbone, coordinates=model.coordinates)
    for model, _ in pretrained:
        if (model.backbone, model.coordinates) != (config.backbone, config.coordinates):
            msg = (
                f"The configuration asks for the vision encoder {config.backbone} with coordinates="
                f"{config.coordinates}, but the pretrained model has {model.backbone} with coordinates="
                f"{model.coordinates}. Leave both out of the configuration to take the pretrained model's."
            )
            raise ConfigError(msg)
    if not patch.spacing_mm:
        patch = replace(patch, spacing_mm=_agreed("patch.spacing_mm", [p.spacing_mm for _, p in pretrained]))
    if not patch.window_hu:
        patch = replace(patch, window_hu=_agreed("patch.window_hu", [p.window_hu for _, p in pretrained]))
    return replace(config, patch=patch)


def new_network(tumor: TumorConfig, start: Start, seed: int) -> TumorSegmenter:
    """The network before its first step; what is fresh in it is the same for every initialisation.

    Raises:
        ConfigError: if the pretrained encoder does not fit.
    """
    torch.manual_seed(seed)
    network = TumorSegmenter(tumor)
    if start.pretrained is not None:
        take_backbone(network, start.pretrained)
    return network


def _read_start(text: str) -> Start:
    name, _, source = text.partition("=")
    kind, _, place = source.partition(":")
    folder = Path(place).expanduser()
    if text == SCRATCH:
        return Start(SCRATCH, SCRATCH)
    if source and (not NAME.fullmatch(name) or name == "cache"):
        msg = f"An initialisation's name is a folder of --out: letters, digits and . _ + - (not cache), got {name!r}."
        raise ConfigError(msg)
    if name and place and kind == "run":
        config = read_run_config(folder)
        network = GroundedEncoder(config.model, config.preprocess)
        load_run_weights(folder, network)
        return Start(name, source, network, config.preprocess)
    if name and place and kind == "model":
        model = open_model_folder(folder)
        return Start(name, source, load_network(model), model.config.preprocess)
    msg = f"Expected an initialisation such as scratch, ct-glip=run:FOLDER or ct-glip=model:FOLDER, got {text!r}."
    raise ConfigError(msg)


def _agreed(name: str, values: Sequence[T]) -> T:
    if not values:
        _nothing_to_take(name)
    if len(set(values)) > 1:
        msg = f"The pretrained models differ in {name} ({', '.join(map(str, values))}). Set it in the configuration."
        raise ConfigError(msg)
    return values[0]


def _nothing_to_take(name: str) -> NoReturn:
    msg = f"From scratch alone the configuration must set {name}: there is no pretrained model to take it from."
    raise ConfigError(msg)
