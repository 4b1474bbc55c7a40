"""The network of a tumour model: a vision encoder of CT-GLIP, and a 1x1x1 head at every level of its decoder.

Conventions, guarded in test_tumor_model.py:
- `forward` is for training: logits of every level, finest first, for deep supervision;
- `logits` is for inference: full resolution only, any size; equal to `forward`'s first where nothing is padded.
"""

from __future__ import annotations

from torch import Tensor, nn

from CTGLIPLib.backbones import build_backbone, features_of_any_size
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.types import Features, Image


class TumorSegmenter(nn.Module):
    """Logits of background and every class of `TumorConfig.classes`.

    Source: deep supervision as in nnU-Net (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z).

    Attributes:
        backbone: the vision encoder, which `take_backbone` fills with pretrained weights.
        heads: one 1x1x1 convolution for each level of `backbone.pyramid`, finest first.
    """

    def __init__(self, config: TumorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, config.input_channels)
        outputs = len(config.classes) + 1
        self.heads = nn.ModuleList(nn.Conv3d(width, outputs, 1) for width in self.backbone.pyramid_channels)

    def forward(self, image: Image) -> list[Tensor]:
        """Logits (batch, class, i, j, k) of each decoder level, finest first; level 0 has the image's size.

        Raises:
            ConfigError: if a side is not a multiple of `backbone.stride_ijk`.
        """
        levels = self.backbone.pyramid(image)
        return [head(level) for head, level in zip(self.heads, levels, strict=True)]

    def logits(self, image: Image) -> Features:
        """Logits (batch, class, i, j, k) at full resolution, of an image of any size."""
        return self.heads[0](features_of_any_size(self.backbone, self.backbone.stride_ijk, image))


def take_backbone(network: TumorSegmenter, pretrained: GroundedEncoder) -> None:
    """Copy the pretrained vision encoder's weights into `network`.

    Raises:
        ConfigError: if the two have different vision encoders or input channels.
    """
    ours, theirs = network.config, pretrained.config
    if (ours.backbone, ours.coordinates) != (theirs.backbone, theirs.coordinates):
        msg = (
            f"The tumour model needs the vision encoder {ours.backbone} with coordinates={ours.coordinates}, but the "
            f"pretrained model has {theirs.backbone} with coordinates={theirs.coordinates}. Configure them alike."
        )
        raise ConfigError(msg)
    network.backbone.load_state_dict(pretrained.backbone.state_dict())
