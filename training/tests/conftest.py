"""What every test of training shares: where the real data lies, seeds, no network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from training_phantom import FakeEncoder, smoke_config, write_pool

os.environ["CTGLIP_OPENVINO"] = "off"  # but where it is tested: converting a network takes seconds

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real CTs, `$CTGLIP_DATA` or `../shared/data`; the test is skipped where there is none."""
    folder = Path(os.environ.get("CTGLIP_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "abdomen_example" / "ct.nii.gz").is_file():
        pytest.skip(f"no real CT data at {folder}; set CTGLIP_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of phantoms of the subjects alpha and beta; not to be written to."""
    return write_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="session")
def smoke_run(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished smoke run, its model exported; beta was held out; not to be written to."""
    from ctglip_training.export import export_model
    from ctglip_training.loop import train

    out = tmp_path_factory.mktemp("run")
    config = smoke_config(pool, hold_out=("beta",))
    export_model(config, train(config, out, FakeEncoder()), out / "model")
    return out


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator with a fixed seed."""
    return np.random.default_rng(20240423)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        msg = "tests must not use the network"
        raise AssertionError(msg)

    monkeypatch.setattr(socket.socket, "connect", refuse)
