"""The network of a run, with the weights that it starts from and as its processes hold it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Adam

from ctglip_training.config import TrainConfig
from ctglip_training.distributed import Ranks
from ctglip_training.forward import backbone_stages, checkpoint_activations
from ctglip_training.state import STAGE_1, load_run_weights
from ctglip_training.texts import TextTable
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.nnunet import initialise_from
from CTGLIPLib.organs import ORGANS, readable_name
from CTGLIPLib.prompts import normal_prompt, organ_prompt


def new_model(config: TrainConfig) -> GroundedEncoder:
    """The network of a run with fresh weights, or with those of a network that the configuration names.

    Raises:
        ConfigError: if `init_from` is of no known kind.
        CheckpointError: if there is no such network, or it does not fit.
    """
    torch.manual_seed(config.data.seed)
    model = GroundedEncoder(config.model, config.preprocess)
    kind, _, folder = config.init_from.partition(":")
    if kind == "nnunet":
        initialise_from(model.backbone, config.init_from)
    elif kind == "run":
        load_run_weights(Path(folder), model)
    elif kind == "stage1":
        load_run_weights(Path(folder), model, STAGE_1)
    elif kind:
        msg = f"init_from must be empty, nnunet:FOLDER, run:FOLDER or stage1:FOLDER, got {config.init_from!r}."
        raise ConfigError(msg)
    return model


def shares_backbone(config: TrainConfig, ranks: Ranks) -> bool:
    """Whether each process holds a share of the backbone only.

    Raises:
        ConfigError: if it is to and the run has a stage on whole patients, of which each process encodes its own.
    """
    shares = config.compute.parallel == "fsdp" and ranks.count > 1
    if shares and config.optim.head_steps:
        msg = 'parallel = "fsdp" cannot be used with head_steps; train the head in a run of its own with "ddp".'
        raise ConfigError(msg)
    return shares


def prepare(model: GroundedEncoder, config: TrainConfig, ranks: Ranks) -> Adam:
    """Put the network on its device in the way that the configuration asks for; returns its optimiser."""
    model.to(ranks.device).train()
    if config.compute.checkpoint_activations:
        checkpoint_activations(model.backbone)
    sharded = shares_backbone(config, ranks)
    if sharded:
        _share(model, ranks)
    # Adam's fused loops take no mixture of whole and shared tensors.
    foreach = False if sharded else None
    optim = config.optim
    return Adam(model.parameters(), lr=optim.lr, weight_decay=optim.weight_decay, foreach=foreach)


def whole_network(model: GroundedEncoder, config: TrainConfig) -> GroundedEncoder:
    """The network on the CPU with all its tensors whole; all processes must call this together."""
    whole = GroundedEncoder(config.model, config.preprocess)
    gathered = {name: v.full_tensor() if hasattr(v, "full_tensor") else v for name, v in model.state_dict().items()}
    whole.load_state_dict({name: value.cpu() for name, value in gathered.items()})
    return whole


def centre_of_texts(table: TextTable) -> Tensor:
    """Mean embedding of the templates of all organs, shape (dim,)."""
    readable = [readable_name(organ.name) for organ in ORGANS]
    return table([*map(organ_prompt, readable), *map(normal_prompt, readable)]).mean(dim=0)


def _share(model: GroundedEncoder, ranks: Ranks) -> None:
    """Leave each process its share of the backbone's parameters; a stage is gathered while it computes.

    The heads stay whole: they are small, and the losses call their parts one by one.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # A stage ends in a rectifier in place, and so in a view; no one changes a stage's output in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    mesh = init_device_mesh(ranks.device.type, (ranks.count,))
    for stage in backbone_stages(model.backbone):
        fully_shard(stage, mesh=mesh)
    fully_shard(model.backbone, mesh=mesh)
