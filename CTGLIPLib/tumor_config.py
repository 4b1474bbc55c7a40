"""What travels with the weights of a fine-tuned tumour model; needs no torch.

Classes are exclusive: the network's logit 0 is background and logit n is `classes[n - 1]`. A class is a tumour if
`tumors` names it, else the organ around tumours (MSD's "pancreas" beside its "cancer").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.errors import ConfigError


@dataclass(frozen=True)
class TumorConfig:
    """A tumour model. Everything that inference needs to know is read from its `config.json` and from nowhere else.

    Attributes:
        name: the model's name, for results.
        classes: names of the network's classes 1, 2, ..., in the order of its logits; background is not named.
        tumors: those of `classes` that are tumours; the others are organs.
        preprocess: how a CT becomes the network's input: `spacing_mm` (isotropic), `window_hu`, `patch_voxels` and
            `overlap` of the sliding window. `min_organ_voxels` means nothing here.
        backbone: a name in `CTGLIPLib.backbones.BACKBONES`.
        coordinates: two more input channels, the position right/left and front/back of the body's middle.
        detection_ml: a tumour is detected where at least this many ml of it, and more than nothing, were segmented.
        trained_on: what it was fine-tuned on, in words.
        initialised_from: what its backbone started from, in words ("scratch", "vanilla CLIP ...", "CT-GLIP ...").

    Raises:
        ConfigError: if there is no class or no tumour, a name occurs twice or is empty, a tumour is no class, or a
            value is out of range.
    """

    name: str = "unnamed"
    classes: tuple[str, ...] = ("tumor",)
    tumors: tuple[str, ...] = ("tumor",)
    preprocess: PreprocessConfig = PreprocessConfig()
    backbone: str = "paper"
    coordinates: bool = False
    detection_ml: float = 0.1
    trained_on: str = ""
    initialised_from: str = "scratch"

    def __post_init__(self) -> None:
        for field in ("classes", "tumors"):
            names = getattr(self, field)
            if isinstance(names, str) or not names or not all(isinstance(name, str) and name for name in names):
                msg = f"{field} must be a list of one name or more, got {names!r}."
                raise ConfigError(msg)
            if len(set(names)) != len(names):
                msg = f"Every name of {field} must occur once, got {', '.join(names)}."
                raise ConfigError(msg)
            object.__setattr__(self, field, tuple(names))
        if unknown := [name for name in self.tumors if name not in self.classes]:
            msg = f"Every tumour must be one of the classes {', '.join(self.classes)}; got {', '.join(unknown)}."
            raise ConfigError(msg)
        if not (math.isfinite(self.detection_ml) and self.detection_ml >= 0):
            msg = f"detection_ml must be 0 or more, got {self.detection_ml}."
            raise ConfigError(msg)

    @property
    def input_channels(self) -> int:
        """CT, then the two coordinates where they are on."""
        return 3 if self.coordinates else 1
