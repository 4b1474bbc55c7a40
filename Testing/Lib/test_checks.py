"""Which volumes pass as CT: every real one, and no picture, MR or label map."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from CTGLIPLib.checks import check_grid, check_hu, require_finite, require_right_angles
from CTGLIPLib.errors import GeometryError, InputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.volume import Volume

REAL_CTS = [
    "abdomen_example/ct.nii.gz",
    "abdomen_example/ct_sm.nii.gz",
    "chest_lidc_0001/ct.nii.gz",
    "cta_thorax/ct_cropped.nii.gz",
    "cta_thorax/pulmonary/ct_cropped.nii.gz",
    "liver_mets_1004/CRLM-CT-1004_ct.nii.gz",
    *(f"sarcoma/STS_{n}/CT_image.nii.gz" for n in ("002", "003", "005", "008", "012", "015", "018", "024")),
    "small/CT_enhance_pet_1446_neck_slice.nii.gz",
    "small/sub-ct_label-22_ct.nii.gz",
]


def volume_of(array: np.ndarray) -> Volume:
    return Volume(array, Grid(array.shape, np.diag([1.5, 1.5, 1.5, 1.0])))


def body(rng: np.random.Generator, noise_hu: float = 15) -> np.ndarray:
    """A cylinder of muscle with a rim of fat and a spine, in air."""
    i, j = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 64), indexing="ij")
    radius = np.hypot(i, j)
    plane = np.select([np.hypot(i, j + 0.5) < 0.1, radius < 0.7, radius < 0.8], [500, 50, -100], -1000)
    return (plane[:, :, None] + rng.normal(0, noise_hu, (64, 64, 40))).astype(np.float32)


def magnetic(rng: np.random.Generator, ringing: float = 0.0) -> np.ndarray:
    """An MR-like volume: tissue of 200 to 900 with a bias field over a Rician background."""
    tissue = body(rng, 0) > -500
    field = np.linspace(0.6, 1.4, 64)[:, None, None]
    signal = np.where(tissue, rng.choice([250.0, 500.0, 900.0], size=tissue.shape) * field, 0)
    noisy = np.hypot(signal + rng.normal(0, 12, tissue.shape), rng.normal(0, 12, tissue.shape))
    return (noisy - ringing * rng.random(tissue.shape)).astype(np.float32)


@pytest.mark.parametrize("name", REAL_CTS)
def test_every_real_ct_passes(data_folder, name):
    if not (data_folder / name).is_file():
        pytest.skip(f"{name} is not in the data folder")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(data_folder / name))).transpose(2, 1, 0)
    text = " ".join(check_hu(volume_of(array)))
    assert ("outside the field of view" in text) == (array.min() <= -2000)
    assert ("no air" in text) == ("sub-ct" in name)
    assert "clipped" not in text


def test_a_phantom_passes_without_a_word(rng):
    assert check_hu(volume_of(body(rng))) == []


@pytest.mark.parametrize("padding", [-1024, -2048, -3024])
def test_padding_outside_the_field_of_view_is_air(rng, padding):
    array = body(rng)
    array[:6] = padding
    warnings = check_hu(volume_of(array))
    assert [w for w in warnings if "taken as air" in w] == (warnings if padding < -1024 else [])


def test_a_crop_without_air_passes_with_a_warning(rng):
    assert "no air" in check_hu(volume_of(body(rng)[22:42, 22:42]))[0]


def test_a_lung_crop_without_much_tissue_passes_with_a_warning(rng):
    lung = rng.normal(-880, 40, (40, 40, 40)).astype(np.float32)
    lung[:5, :10, :] = 40
    assert "Less than 5 %" in check_hu(volume_of(lung))[0]


def test_a_windowed_ct_that_keeps_its_hu_passes_with_a_warning(rng):
    assert "clipped at -160" in check_hu(volume_of(np.clip(body(rng), -160, 240)))[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: magnetic(rng), "looks like an MR"),
        (lambda rng: magnetic(rng, ringing=20), "looks like an MR"),
        (lambda rng: body(rng) + 1024, "unscaled CT. For a CT apply its rescale"),
        (lambda rng: (body(rng) + 1024).clip(0, 4095).astype(np.uint16), "unscaled CT. For a CT apply its rescale"),
        (
            lambda rng: np.where(np.arange(64)[:, None, None] < 6, -2000, body(rng) + 1024),
            "unscaled CT. For a CT apply its rescale",
        ),
        (lambda rng: body(rng) - 1024, "applied twice"),
        (lambda rng: ((body(rng).clip(-160, 240) + 160) / 400 * 255).astype(np.uint8), "windowed picture"),
        (lambda rng: (body(rng) + 1000) / 2000, "normalised"),
        (lambda rng: (body(rng) / 400).astype(np.float32), "normalised"),
        (lambda rng: rng.integers(0, 118, (32, 32, 32)), "label map"),
        (lambda rng: np.full((8, 8, 8), -1024), "all its voxels have the value -1024"),
        (lambda rng: rng.normal(-3000, 5, (8, 8, 8)), "no value above"),
    ],
)
def test_what_is_no_ct_in_hu_is_refused_with_the_reason(rng, make, message):
    with pytest.raises(InputError, match=message):
        check_hu(volume_of(make(rng)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted(rng, bad):
    array = body(rng)
    array[0, 0, :3] = bad
    with pytest.raises(InputError, match=r"got 3 of 163,840 voxels that are NaN or infinite. Replace"):
        check_hu(volume_of(array))


def test_finite_numbers_pass_and_complex_ones_do_not():
    assert require_finite(np.ones(3, dtype=np.int16), "The CT") is None
    assert require_finite(np.ones(3), "The CT") is None
    with pytest.raises(InputError, match="The map must hold real numbers, got complex128"):
        require_finite(np.ones(3, dtype=complex), "The map")


def test_a_usual_grid_gives_no_warning():
    assert check_grid(Grid((512, 512, 100), np.diag([-0.7, -0.7, 5.0, 1.0]))) == []


def test_thick_and_few_slices_are_named_with_their_direction():
    warnings = check_grid(Grid((8, 400, 300), np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])))
    assert warnings == ["Only 8 slices (8 mm) along PA: most organs are cut off."]
    assert "7.5 mm apart along IS" in check_grid(Grid((100, 100, 40), np.diag([1, 1, 7.5, 1.0])))[0]


def test_an_oblique_grid_is_named():
    c, s = np.cos(0.1), np.sin(0.1)
    affine = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    assert "turned away" in check_grid(Grid((100, 100, 100), affine))[0]


@pytest.mark.parametrize(("degrees", "refused"), [(0.0, False), (0.05, False), (0.5, True), (15.0, True)])
def test_sheared_axes_are_refused(degrees, refused):
    affine = np.eye(4)
    affine[1, 2] = np.tan(np.deg2rad(degrees))
    grid = Grid((4, 4, 4), affine)
    if refused:
        with pytest.raises(GeometryError, match=f"sheared by {degrees:.2f} degrees"):
            require_right_angles(grid, "ct.nii")
    else:
        assert require_right_angles(grid, "ct.nii") is None
