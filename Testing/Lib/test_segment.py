"""Organ segmenters: TotalSegmentator in its own process (a stand-in package), and the model's own head."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from CTGLIPLib.config import Config, ModelConfig, PreprocessConfig
from CTGLIPLib.errors import Cancelled, ConfigError, DependencyError, InputError, LabelError
from CTGLIPLib.geometry import Grid, same_grid
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.preprocess import Prepared, prepare_on_grid
from CTGLIPLib.segment import SEGMENTERS, OrganSegmenter, SegmenterOptions, build_segmenter
from CTGLIPLib.segment_own import OwnSegmenter, classify, keep_plausible
from CTGLIPLib.segment_total import TotalSegmentatorSegmenter
from CTGLIPLib.volume import Segmentation, Volume
from CTGLIPLib.windows import blend_weight, plan_windows

REPOSITORY = Path(__file__).resolve().parents[2]
FAKE_API = """
import json, os, time
from pathlib import Path
import numpy as np
import SimpleITK as sitk

def totalsegmentator(input, output, **options):
    print("chatter that must not reach the terminal")
    record = Path(os.environ["FAKE_RECORD"])
    home = Path(os.environ["TOTALSEG_HOME_DIR"])
    config = json.loads((home / "config.json").read_text())
    record.write_text(json.dumps({
        "options": options, "config": config, "weights": os.environ["TOTALSEG_WEIGHTS_PATH"], "pid": os.getpid(),
        "folder": str(Path(input).parent)}))
    BODY
    image = sitk.ReadImage(str(input))
    array = sitk.GetArrayFromImage(image)
    labels = np.zeros(array.shape, np.uint8)
    labels[array > 50] = 5
    labels[array > 500] = 91
    out = sitk.GetImageFromArray(labels)
    out.CopyInformation(image)
    sitk.WriteImage(out, str(output))
"""


@pytest.fixture
def fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a package `totalsegmentator` before the real one; returns a function that sets what it does on a run."""
    root = tmp_path / "site"
    package = root / "totalsegmentator"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "map_to_binary.py").write_text('class_map = {"total": {5: "liver", 6: "stomach", 91: "skull"}}')
    (root / "requests.py").write_text(
        "class RequestException(OSError): ...\nclass ConnectionError(RequestException): ..."
    )
    record = tmp_path / "record.json"
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("FAKE_RECORD", str(record))
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "weights"))

    def install(body: str = "pass") -> Path:
        (package / "python_api.py").write_text(FAKE_API.replace("BODY", body))
        return record

    return install


@pytest.fixture
def ct(rng: np.random.Generator) -> Volume:
    """A small LAS CT: air, a block of liver, a denser block."""
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (30, -40, 100)
    array = rng.normal(-1000, 5, (12, 10, 8)).astype(np.float32)
    array[2:8, 2:8, 2:6] = 100
    array[8:10, 2:4, 2:4] = 900
    return Volume(array, Grid((12, 10, 8), affine))


def test_total_segmentator_names_organs_by_the_package_class_map_on_the_ct_grid(fake_package, ct):
    fake_package()
    found = TotalSegmentatorSegmenter("cpu")(ct)
    assert found.names == ("liver", "skull")
    assert same_grid(found.grid, ct.grid)
    np.testing.assert_array_equal(found.mask("liver"), (ct.array > 50) & (ct.array <= 500))
    assert found.source.startswith("TotalSegmentator ")
    assert found.source.endswith(" total fast")
    assert found.vocabulary == "totalsegmentator_v2"


@pytest.mark.parametrize(("fast", "device", "total_device"), [(True, "cuda:1", "gpu:1"), (False, "mps", "mps")])
def test_total_segmentator_runs_without_usage_statistics_and_leaves_no_file(
    fake_package, ct, tmp_path, capfd, fast, device, total_device
):
    record = fake_package()
    TotalSegmentatorSegmenter(device, fast)(ct)
    seen = json.loads(record.read_text())
    assert seen["options"] == {"ml": True, "fast": fast, "task": "total", "device": total_device, "quiet": True}
    assert seen["config"]["send_usage_stats"] is False
    assert seen["weights"] == str(tmp_path / "weights")
    assert seen["pid"] != os.getpid()
    assert not Path(seen["folder"]).exists()
    assert capfd.readouterr() == ("", "")


def test_total_segmentator_keeps_weights_where_the_package_does_and_never_touches_the_user_configuration(
    fake_package, ct, tmp_path, monkeypatch
):
    record = fake_package()
    home = tmp_path / "user"
    (home / ".totalsegmentator").mkdir(parents=True)
    config = home / ".totalsegmentator" / "config.json"
    config.write_text('{"send_usage_stats": true}')
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH")
    monkeypatch.delenv("TOTALSEG_HOME_DIR", raising=False)
    monkeypatch.setattr(Path, "home", lambda: home)
    TotalSegmentatorSegmenter("cpu")(ct)
    assert json.loads(record.read_text())["weights"] == str(home / ".totalsegmentator" / "nnunet" / "results")
    assert config.read_text() == '{"send_usage_stats": true}'


def test_a_missing_package_is_named_with_the_extra_and_the_ways_round(fake_package, ct):
    fake_package("import nnunetv2_that_is_not_there")
    with pytest.raises(
        DependencyError, match=r"nnunetv2_that_is_not_there.*ctglip\[totalsegmentator\].*--segmenter own"
    ):
        TotalSegmentatorSegmenter("cpu")(ct)


def test_weights_that_cannot_be_downloaded_are_told_with_the_ways_round(fake_package, ct):
    fake_package("import requests; raise requests.ConnectionError('https://somewhere')")
    with pytest.raises(DependencyError, match=r"weights.*ConnectionError.*TOTALSEG_WEIGHTS_PATH.*--segmentation FILE"):
        TotalSegmentatorSegmenter("cpu")(ct)


def test_a_failed_run_shows_its_last_line(fake_package, ct):
    fake_package("raise RuntimeError('out of tricks')")
    with pytest.raises(DependencyError, match="did not finish: RuntimeError: out of tricks"):
        TotalSegmentatorSegmenter("cpu")(ct)


def test_a_ct_without_organs_is_refused(fake_package, ct):
    fake_package()
    air = Volume(np.full_like(ct.array, -1000), ct.grid)
    with pytest.raises(LabelError, match="found no organ"):
        TotalSegmentatorSegmenter("cpu")(air)


def test_cancelling_ends_the_process_and_its_workers(fake_package, ct):
    record = fake_package("import subprocess, sys; subprocess.Popen(['sleep', '60']); time.sleep(60)")
    with pytest.raises(Cancelled):
        TotalSegmentatorSegmenter("cpu")(ct, lambda what, done, total: not record.is_file())
    seen = json.loads(record.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(seen["pid"], 0)
    assert not Path(seen["folder"]).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_process_that_crashes_leaves_no_worker_behind(fake_package, ct, tmp_path):
    worker = tmp_path / "worker.pid"
    start = f"Path({str(worker)!r}).write_text(str(subprocess.Popen(['sleep', '60']).pid))"
    fake_package(f"import subprocess; {start}; os.abort()")
    with pytest.raises(DependencyError, match="did not finish: it was ended by signal 6, which often means"):
        TotalSegmentatorSegmenter("cpu")(ct)
    assert happens(lambda: not is_running(int(worker.read_text())), 2)


RUN_ALONE = """
import numpy as np
from CTGLIPLib.geometry import Grid
from CTGLIPLib.segment_total import TotalSegmentatorSegmenter
from CTGLIPLib.volume import Volume
TotalSegmentatorSegmenter("cpu")(Volume(np.zeros((4, 4, 4), np.int16), Grid((4, 4, 4), np.eye(4))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_killed_parent_takes_the_process_and_its_workers_along(fake_package, tmp_path):
    worker = tmp_path / "worker.pid"
    start = f"Path({str(worker)!r}).write_text(str(subprocess.Popen(['sleep', '60']).pid))"
    record = fake_package(f"import subprocess; {start}; time.sleep(60)")
    parent = subprocess.Popen([sys.executable, "-c", RUN_ALONE], cwd=REPOSITORY)
    try:
        assert happens(lambda: worker.is_file() and worker.read_text(), 60)
    finally:
        parent.kill()
        parent.wait()
    seen = json.loads(record.read_text())
    assert happens(lambda: not is_running(seen["pid"]) and not is_running(int(worker.read_text())), 2)
    assert not Path(seen["folder"]).exists()


def test_a_process_that_is_not_guarded_keeps_its_folder_when_its_input_ends(fake_package, tmp_path):
    fake_package()
    folder = tmp_path / "kept"
    folder.mkdir()
    command = [sys.executable, "-m", "CTGLIPLib.segment_total_process", str(folder), "--device", "cpu"]
    environment = {**os.environ, "TOTALSEG_HOME_DIR": str(folder)}
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, cwd=REPOSITORY, env=environment, capture_output=True, check=False, timeout=60
    )
    assert ended.returncode == 1  # the folder has no CT
    assert folder.is_dir()


def happens(condition, seconds: float) -> bool:
    """Whether a condition becomes true within some seconds."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def is_running(pid: int) -> bool:
    """Whether a process lives; one that has ended but was not asked for its exit code does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.is_file() or status.read_text().rpartition(")")[2].split()[0] != "Z"


class ImageAsFeatures(nn.Module):
    """Stands for a trained encoder: three features that say how near the CT is to air, liver and bone."""

    in_channels, out_channels, stride_ijk = 1, 3, (1, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([-((image - centre) ** 2) for centre in (0.0, 0.525, 0.75)], dim=1)


@pytest.fixture
def network() -> GroundedEncoder:
    """A network whose head calls 50 HU liver, 500 HU aorta and air background."""
    config = ModelConfig("tiny", ("liver", "aorta", "spleen"), text_dim=8, hidden_dim=8)
    made = GroundedEncoder(config, PREPROCESS).eval()
    made.backbone = ImageAsFeatures()
    made.segmentation_head = nn.Linear(3, 4)
    with torch.no_grad():
        made.segmentation_head.weight.copy_(torch.cat([torch.eye(3), torch.zeros(1, 3)]))
        made.segmentation_head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -10.0]))
    return made


PREPROCESS = PreprocessConfig(spacing_mm=2.0, patch_voxels=16, overlap=0.5)


def _body() -> Volume:
    """An LPI CT of 2 mm voxels: liver, a speck of liver, an aorta in two pieces."""
    array = np.full((30, 34, 44), -1000, dtype=np.float32)
    array[4:14, 4:14, 4:30] = 50
    array[24:27, 24:27, 38:42] = 50
    array[18:24, 6:12, 2:10] = 500
    array[18:24, 6:12, 20:28] = 500
    return Volume(array, Grid((30, 34, 44), np.diag([-2.0, -2.0, -2.0, 1.0])))


def test_the_own_head_finds_organs_on_the_model_grid_and_drops_specks(network):
    body = _body()
    found = OwnSegmenter(network, PREPROCESS, "toy")(body)
    assert found.names == ("liver", "aorta")
    assert found.source == "own head of model toy"
    assert found.grid.orientation == "RAS"
    assert found.grid.spacing_mm == (2.0, 2.0, 2.0)
    labels = found.layers[0][::-1, ::-1, ::-1]
    assert (labels == 1).sum() == 10 * 10 * 26
    np.testing.assert_array_equal(labels == 2, body.array == 500)


def test_streaming_equals_classifying_the_whole_blended_feature_map(rng):
    shape = (20, 18, 70)
    config = ModelConfig("tiny", ("liver", "aorta", "spleen"), text_dim=8, hidden_dim=8, coordinates=True)
    torch.manual_seed(3)
    network = GroundedEncoder(config, PREPROCESS).eval()
    grid = Grid(shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    volume = Volume(rng.normal(0, 300, shape).astype(np.float32), grid)
    prepared = prepare_on_grid(volume, Segmentation(np.zeros((1, *shape), np.uint16), grid, ()), PREPROCESS)
    plan = plan_windows(np.ones(shape, dtype=bool), 32, 0.5)
    assert len({box[2].start for box in plan.boxes}) == 4
    np.testing.assert_array_equal(classify(network, prepared, plan), _classify_at_once(network, prepared, plan.boxes))


def _classify_at_once(network: GroundedEncoder, prepared: Prepared, boxes) -> np.ndarray:
    """Blend logits of all windows into one map, then take the best class."""
    from CTGLIPLib.encode import window_input

    total = np.zeros((4, *prepared.image.shape))
    for box in boxes:
        with torch.no_grad():
            features = network.features(window_input(prepared, box, coordinates=True)[None])[0]
            logits = network.segment(features.flatten(1).T).T.reshape(4, *features.shape[1:]).numpy()
        total[(slice(None), *box)] += logits * blend_weight(features.shape[1:])
    return total.argmax(axis=0)


def test_only_organs_that_may_lie_in_pieces_keep_a_second_piece():
    labels = np.zeros((20, 20, 10), dtype=np.uint16)
    for number in (1, 2):
        labels[2:8, 2 + 8 * number : 6 + 8 * number - 2, 1:9] = number
    labels[12:16, 2:8, 1:5] = 1
    labels[12:16, 12:18, 1:5] = 2
    labels[18, 18, 9] = 2
    kept = keep_plausible(labels, ("colon", "liver"), voxel_ml=0.02)
    np.testing.assert_array_equal(kept == 1, labels == 1)
    assert (kept == 2).sum() == 4 * 6 * 4
    assert not kept[18, 18, 9]


def test_an_organ_below_half_a_millilitre_is_dropped():
    labels = np.zeros((6, 6, 6), dtype=np.uint16)
    labels[1:4, 1:4, 1:4] = 1
    assert not keep_plausible(labels, ("liver",), voxel_ml=0.018).any()
    assert keep_plausible(labels, ("liver",), voxel_ml=0.019).sum() == 27


def test_the_own_head_reports_every_window_and_stops_when_asked(network):
    calls: list[tuple[int, int]] = []
    OwnSegmenter(network, PREPROCESS)(_body(), lambda what, done, total: calls.append((done, total)))
    assert [done for done, _ in dict.fromkeys(calls)] == list(range(calls[0][1] + 1))
    with pytest.raises(Cancelled):
        OwnSegmenter(network, PREPROCESS)(_body(), lambda what, done, total: done < 2)


def test_the_own_head_refuses_air_an_unknown_body_and_a_model_without_organs(network):
    body = _body()
    with pytest.raises(InputError, match="no voxel above -500 HU"):
        OwnSegmenter(network, PREPROCESS)(Volume(np.full_like(body.array, -1000), body.grid))
    specks = np.full_like(body.array, -1000)
    specks[3, 3, 3] = 50
    with pytest.raises(LabelError, match="own head of model toy found no organ"):
        OwnSegmenter(network, PREPROCESS, "toy")(Volume(specks, body.grid))
    headless = GroundedEncoder(ModelConfig("tiny", text_dim=8, hidden_dim=8), PREPROCESS)
    with pytest.raises(ConfigError, match="toy was trained without organs"):
        OwnSegmenter(headless, PREPROCESS, "toy")


def test_segmenters_are_found_by_name_and_a_wrong_name_gets_the_closest(network):
    options = SegmenterOptions("cuda", fast=False, network=network, config=Config("toy", PREPROCESS))
    assert build_segmenter("own", options) == OwnSegmenter(network, PREPROCESS, "toy")
    assert build_segmenter("totalsegmentator", options) == TotalSegmentatorSegmenter("cuda", fast=False)
    assert all(isinstance(build_segmenter(name, options), OrganSegmenter) for name in SEGMENTERS)
    with pytest.raises(
        ConfigError, match=r"'TotalSegmentor'; expected one of totalsegmentator, own.*'totalsegmentator'"
    ):
        build_segmenter("TotalSegmentor")
    with pytest.raises(ConfigError, match="no model is loaded"):
        build_segmenter("own")
    with pytest.raises(ConfigError, match="got 'gpu'"):
        build_segmenter("totalsegmentator", SegmenterOptions("gpu"))
