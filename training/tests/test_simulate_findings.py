from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ctglip_training.simulate import FINDINGS, Patient, SimulatedFinding, simulate_findings
from ctglip_training.simulate.preview import flat_labels, write_preview
from CTGLIPLib.abnormalities import abnormality_named
from CTGLIPLib.geometry import Grid, canonical_array, canonical_grid
from CTGLIPLib.organs import readable_name
from CTGLIPLib.volume import Segmentation, Volume

SPLEEN, KIDNEY_LEFT, KIDNEY_RIGHT, LIVER = "spleen", "kidney_left", "kidney_right", "liver"


def changed(before: Patient, after: Patient) -> np.ndarray:
    return np.abs(after.volume.array - before.volume.array) > 1e-3


def place(finding: SimulatedFinding) -> np.ndarray:
    return np.array([finding.details[f"centre_{axis}_mm"] for axis in "ras"])


@pytest.fixture(scope="module")
def abdomen(data_folder: Path) -> Patient:
    ct = nib.load(data_folder / "abdomen_example" / "ct.nii.gz")
    labels = nib.load(data_folder / "abdomen_example" / "seg_v1_104.nii.gz")
    classes = json.loads((data_folder / "totalsegmentator_class_maps.json").read_text())["v1_104"]
    grid = Grid(ct.shape, ct.affine)
    names = tuple(classes[str(number)] for number in range(1, 105))
    layers = np.asarray(labels.dataobj).astype(np.uint16)[None]
    volume = Volume(np.asarray(ct.dataobj).astype(np.float32), grid)
    return Patient(volume, Segmentation(layers, grid, names))


def lung_phantom(spacing_mm: tuple[float, float, float] = (3.0, 3.0, 3.0)) -> Patient:
    """A box of fat with a lower lobe on each side, a heart between them, and noise; i runs to the left."""
    shape = tuple(int(n / s) for n, s in zip((270, 210, 180), spacing_mm, strict=True))
    affine = np.diag([-spacing_mm[0], spacing_mm[1], spacing_mm[2], 1.0])
    grid = Grid(shape, affine)
    x, y, z = np.moveaxis(grid.to_ras(np.stack(np.indices(shape), axis=-1)), -1, 0)
    middle = grid.centre_ras_mm

    def ball(dx: float, dy: float, dz: float, radii: tuple[float, float, float]) -> np.ndarray:
        a, b, c = radii
        return ((x - middle[0] - dx) / a) ** 2 + ((y - middle[1] - dy) / b) ** 2 + ((z - middle[2] - dz) / c) ** 2 < 1

    labels = np.zeros(shape, dtype=np.uint16)
    names = ("lung_lower_lobe_left", "lung_lower_lobe_right", "heart")
    labels[ball(-78, 0, 0, (45, 60, 70))] = 1
    labels[ball(78, 0, 0, (45, 60, 70))] = 2
    labels[ball(-8, 20, 0, (50, 45, 50))] = 3
    values = np.array([-90.0, -850.0, -850.0, 40.0])[labels]
    noise = np.random.default_rng(5).normal(0, 12, shape)
    return Patient(Volume((values + noise).astype(np.float32), grid), Segmentation(labels[None], grid, names))


CASES = [
    ("fatty_liver", LIVER),
    ("hepatic_cyst", LIVER),
    ("hepatic_calcification", LIVER),
    ("liver_metastasis", LIVER),
    ("gallstone", "gallbladder"),
    ("renal_cyst", KIDNEY_LEFT),
    ("renal_cyst", KIDNEY_RIGHT),
    ("kidney_stone", KIDNEY_LEFT),
    ("kidney_stone", KIDNEY_RIGHT),
    ("splenic_calcification", SPLEEN),
    ("splenomegaly", SPLEEN),
    ("acute_pancreatitis", "pancreas"),
    ("pancreatic_duct_stone", "pancreas"),
    ("aortic_calcification", "aorta"),
]
LUNG_CASES = [
    "pulmonary_nodule",
    "consolidation",
    "pneumonia",
    "lung_opacity",
    "emphysema",
    "atelectasis",
    "pleural_effusion",
]


def made(patient: Patient, abnormality: str, organ: str, seed: int = 3) -> Patient:
    result = FINDINGS[abnormality].apply(patient, organ, np.random.default_rng(seed))
    assert result is not None
    return result


@pytest.mark.parametrize(("abnormality", "organ"), CASES)
def test_a_finding_of_the_abdomen_is_recorded_seeded_and_leaves_its_input_alone(
    abdomen: Patient, abnormality: str, organ: str
) -> None:
    ct, layers = abdomen.volume.array.copy(), abdomen.segmentation.layers.copy()
    first, again = made(abdomen, abnormality, organ), made(abdomen, abnormality, organ)
    assert np.array_equal(abdomen.volume.array, ct)
    assert np.array_equal(abdomen.segmentation.layers, layers)
    assert np.array_equal(first.volume.array, again.volume.array)
    assert first.findings[0] == again.findings[0]
    assert (first.findings[0].abnormality, first.findings[0].organ) == (abnormality, organ)
    assert changed(abdomen, first).any()
    assert not changed(abdomen, first)[~near(abdomen, organ, 90 if abnormality == "splenomegaly" else 32)].any()


def near(patient: Patient, organ: str, reach_mm: float) -> np.ndarray:
    """The organ's bounding box and some more, found without the simulator."""
    index = np.argwhere(patient.segmentation.mask(organ))
    pad = np.ceil(reach_mm / np.array(patient.volume.grid.spacing_mm)).astype(int) + 1
    low, high = np.maximum(index.min(axis=0) - pad, 0), index.max(axis=0) + pad + 1
    box = np.zeros(patient.volume.array.shape, dtype=bool)
    box[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
    return box


@pytest.mark.parametrize("abnormality", LUNG_CASES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_finding_of_the_lung_lies_on_the_side_that_its_sentence_says(abnormality: str, side: str) -> None:
    patient = lung_phantom()
    organ = f"lung_lower_lobe_{side}"
    result = made(patient, abnormality, organ)
    other = "left" if side == "right" else "right"
    assert side in result.findings[0].sentence.lower()
    assert other not in result.findings[0].sentence.lower()
    points = patient.volume.grid.to_ras(np.argwhere(changed(patient, result)))
    towards_right = points[:, 0] - patient.volume.grid.centre_ras_mm[0]
    assert (np.sign(towards_right) == (1 if side == "right" else -1)).all()


@pytest.mark.parametrize(("organ", "other"), [(KIDNEY_LEFT, "right"), (KIDNEY_RIGHT, "left")])
@pytest.mark.parametrize("abnormality", ["renal_cyst", "kidney_stone"])
def test_a_kidneys_finding_names_its_side_and_lies_there(
    abdomen: Patient, abnormality: str, organ: str, other: str
) -> None:
    for seed in range(6):
        result = made(abdomen, abnormality, organ, seed)
        sentence = result.findings[0].sentence.lower()
        assert organ.split("_")[1] in sentence
        assert other not in sentence
        index = np.argwhere(abdomen.segmentation.mask(organ))
        kidney = abdomen.volume.grid.to_ras(index)
        low, high = kidney.min(axis=0) - 20, kidney.max(axis=0) + 20
        assert ((place(result.findings[0]) > low) & (place(result.findings[0]) < high)).all()


def test_the_pole_in_a_kidneys_sentence_is_where_the_lesion_lies(abdomen: Patient) -> None:
    heights = abdomen.volume.grid.to_ras(np.argwhere(abdomen.segmentation.mask(KIDNEY_LEFT)))[:, 2]
    middle = (heights.min() + heights.max()) / 2
    seen = set()
    for seed in range(24):
        finding = made(abdomen, "renal_cyst", KIDNEY_LEFT, seed).findings[0]
        for pole, sign in (("upper pole", 1), ("lower pole", -1)):
            if pole in finding.sentence:
                seen.add(pole)
                assert np.sign(place(finding)[2] - middle) == sign
    assert seen == {"upper pole", "lower pole"}


@pytest.mark.parametrize(("abnormality", "organ"), [("hepatic_cyst", LIVER), ("renal_cyst", KIDNEY_RIGHT)])
def test_a_cysts_middle_is_water_with_the_noise_of_its_surroundings(
    abdomen: Patient, abnormality: str, organ: str
) -> None:
    for seed in range(20):
        result = made(abdomen, abnormality, organ, seed)
        finding = result.findings[0]
        if finding.details["diameter_mm"] > 22:
            break
    points = abdomen.volume.grid.to_ras(np.stack(np.indices(abdomen.volume.array.shape), axis=-1))
    inside = np.linalg.norm(points - place(finding), axis=-1) < 0.25 * finding.details["diameter_mm"]
    values = result.volume.array[inside]
    assert abs(values.mean() - finding.details["attenuation_hu"]) < 10
    assert 5 < values.std() < 40
    assert result.segmentation.mask(organ)[inside].mean() > 0.9


@pytest.mark.parametrize(
    ("abnormality", "organ", "low", "high"),
    [
        ("hepatic_calcification", LIVER, 130, 1000),
        ("splenic_calcification", SPLEEN, 130, 1000),
        ("kidney_stone", KIDNEY_LEFT, 150, 1300),
        ("pancreatic_duct_stone", "pancreas", 130, 900),
        ("aortic_calcification", "aorta", 150, 1000),
    ],
)
def test_calcified_lesions_are_as_dense_as_they_should_be(
    abdomen: Patient, abnormality: str, organ: str, low: float, high: float
) -> None:
    for seed in range(4):
        result = made(abdomen, abnormality, organ, seed)
        touched = result.volume.array[changed(abdomen, result) & result.segmentation.mask(organ)]
        assert low < touched.max() < high


def test_gallstones_lie_in_the_back_half_of_the_gallbladder(abdomen: Patient) -> None:
    gallbladder = abdomen.volume.grid.to_ras(np.argwhere(abdomen.segmentation.mask("gallbladder")))[:, 1]
    for seed in range(5):
        result = made(abdomen, "gallstone", "gallbladder", seed)
        denser = result.volume.array - abdomen.volume.array > 60
        stones = abdomen.volume.grid.to_ras(np.argwhere(denser))[:, 1]
        assert len(stones) > 0
        assert stones.mean() < np.median(gallbladder)


def test_a_fatty_liver_is_less_dense_than_the_spleen_and_keeps_its_noise(abdomen: Patient) -> None:
    result = made(abdomen, "fatty_liver", LIVER)
    liver, spleen = abdomen.segmentation.mask(LIVER), abdomen.segmentation.mask(SPLEEN)
    assert -15 < np.median(result.volume.array[liver]) < 36
    assert np.median(result.volume.array[liver]) < np.median(result.volume.array[spleen]) - 8
    before, after = (p.volume.array[liver].std() for p in (abdomen, result))
    assert 0.9 < after / before < 1.6
    assert np.array_equal(result.segmentation.layers, abdomen.segmentation.layers)


def test_splenomegaly_enlarges_the_spleen_by_the_ratio_it_says_and_keeps_every_neighbour(abdomen: Patient) -> None:
    for seed in range(3):
        result = made(abdomen, "splenomegaly", SPLEEN, seed)
        before, after = abdomen.segmentation.voxel_counts(), result.segmentation.voxel_counts()
        number = abdomen.segmentation.names.index(SPLEEN)
        ratio = after[number] / before[number]
        assert 1.55 < ratio < 3.25
        assert ratio == pytest.approx(result.findings[0].details["volume_ratio"])
        assert ((after > 0) == (before > 0)).all()
        ribs = [n for n, name in enumerate(abdomen.segmentation.names) if name.startswith(("rib", "vertebrae"))]
        assert np.abs(after[ribs] - before[ribs]).sum() < 0.03 * before[ribs].sum()
        grown = result.volume.array[result.segmentation.mask(SPLEEN)]
        assert np.median(grown) == pytest.approx(
            np.median(abdomen.volume.array[abdomen.segmentation.mask(SPLEEN)]), abs=4
        )


def test_an_enlarged_heart_is_larger_by_the_ratio_it_says() -> None:
    patient = lung_phantom()
    result = made(patient, "cardiomegaly", "heart")
    ratio = result.segmentation.mask("heart").sum() / patient.segmentation.mask("heart").sum()
    assert 1.35 < ratio < 1.95
    assert ratio == pytest.approx(result.findings[0].details["volume_ratio"])


def test_an_effusion_is_fluid_at_the_back_and_partly_leaves_the_lobes_mask() -> None:
    patient = lung_phantom()
    organ = "lung_lower_lobe_left"
    result = made(patient, "pleural_effusion", organ)
    lobe = patient.segmentation.mask(organ)
    gone = lobe & ~result.segmentation.mask(organ)
    share = result.findings[0].details["share_of_lobe"]
    assert 0.08 < share < 0.42
    assert 0.2 * share < gone.sum() / lobe.sum() < 0.9 * share
    assert -8 < result.volume.array[gone].mean() < 33
    depth = patient.volume.grid.to_ras(np.argwhere(gone))[:, 1].mean()
    assert depth < patient.volume.grid.to_ras(np.argwhere(lobe))[:, 1].mean() - 20


def test_a_nodule_is_dense_and_emphysema_is_emptier_than_lung() -> None:
    patient = lung_phantom()
    organ = "lung_lower_lobe_right"
    nodule = made(patient, "pulmonary_nodule", organ)
    assert nodule.volume.array[nodule.segmentation.mask(organ)].max() > 10
    empty = made(patient, "emphysema", organ)
    lobe = patient.segmentation.mask(organ)
    assert (patient.volume.array[lobe] < -950).mean() < 0.01
    assert (empty.volume.array[lobe] < -950).mean() > 0.1
    assert empty.volume.array[lobe].min() >= -1024


@pytest.mark.parametrize("abnormality", sorted(FINDINGS))
def test_an_absent_or_tiny_organ_gets_no_finding(abnormality: str) -> None:
    grid = Grid((12, 12, 12), np.diag([3.0, 3.0, 3.0, 1.0]))
    volume = Volume(np.zeros(grid.shape_ijk, dtype=np.float32), grid)
    finding = FINDINGS[abnormality]
    for organ in finding.organs:
        absent = Patient(volume, Segmentation(np.zeros((1, 12, 12, 12), np.uint16), grid, (organ,)))
        tiny_layers = np.zeros((1, 12, 12, 12), np.uint16)
        tiny_layers[0, 5:7, 5:7, 5:7] = 1
        tiny = Patient(volume, Segmentation(tiny_layers, grid, (organ,)))
        unnamed = Patient(volume, Segmentation(tiny_layers, grid, ("skin",)))
        for patient in (absent, tiny, unnamed):
            assert finding.apply(patient, organ, np.random.default_rng(0)) is None


def test_findings_come_in_distinct_organs_and_the_same_seed_gives_the_same_patient(abdomen: Patient) -> None:
    first = simulate_findings(abdomen, np.random.default_rng(11), 4)
    again = simulate_findings(abdomen, np.random.default_rng(11), 4)
    assert len(first.findings) == 4
    assert len({finding.organ for finding in first.findings}) == 4
    assert first.findings == again.findings
    assert np.array_equal(first.volume.array, again.volume.array)
    assert simulate_findings(abdomen, np.random.default_rng(11), 0) is abdomen


def test_the_order_and_direction_of_the_axes_do_not_matter(abdomen: Patient) -> None:
    order, flip = (2, 0, 1), slice(None, None, -1)
    array = abdomen.volume.array.transpose(order)[flip]
    affine = abdomen.volume.grid.affine.copy()
    affine[:3, :3] = affine[:3, list(order)]
    affine[:3, 3] += affine[:3, 0] * (array.shape[0] - 1)
    affine[:3, 0] *= -1
    grid = Grid(array.shape, affine)
    layers = abdomen.segmentation.layers.transpose(0, *(axis + 1 for axis in order))[:, flip]
    turned = Patient(Volume(array, grid), Segmentation(layers, grid, abdomen.segmentation.names))
    result = made(turned, "splenomegaly", SPLEEN)
    straight = made(abdomen, "splenomegaly", SPLEEN)
    back = canonical_array(result.segmentation.mask(SPLEEN), grid)
    assert canonical_grid(grid).shape_ijk == abdomen.volume.grid.shape_ijk
    both = straight.segmentation.mask(SPLEEN)
    assert 2 * (back & both).sum() / (back.sum() + both.sum()) > 0.98


def test_a_lesion_is_round_in_millimetres_on_an_anisotropic_grid() -> None:
    patient = lung_phantom((1.5, 1.5, 5.0))
    for seed in range(40):
        result = FINDINGS["pulmonary_nodule"].apply(patient, "lung_lower_lobe_left", np.random.default_rng(seed))
        if result and "olid" in result.findings[0].sentence and result.findings[0].details["diameter_mm"] > 22:
            break
    assert result is not None
    dense = (result.volume.array > -300) & patient.segmentation.mask("lung_lower_lobe_left")
    extent = np.ptp(patient.volume.grid.to_ras(np.argwhere(dense)), axis=0)
    assert extent.max() / extent.min() < 1.7


def test_every_finding_id_and_organ_is_in_the_catalogues() -> None:
    for finding in FINDINGS.values():
        known = abnormality_named(finding.id)
        assert known.id == finding.id
        for organ in finding.organs:
            assert readable_name(organ)
            assert organ in known.organs


def test_sentences_vary_and_are_whole_sentences(abdomen: Patient) -> None:
    sentences = {made(abdomen, "kidney_stone", KIDNEY_LEFT, seed).findings[0].sentence for seed in range(15)}
    assert len(sentences) > 9
    for sentence in sentences:
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")
        assert not set(sentence) & set("[]{}|")


def test_a_preview_writes_the_ct_its_labels_and_a_picture_per_finding(abdomen: Patient, tmp_path: Path) -> None:
    result = made(abdomen, "renal_cyst", KIDNEY_LEFT)
    written = write_preview(result, tmp_path / "patient")
    assert {path.name for path in written} == {
        "ct.nii.gz",
        "labels.nii.gz",
        "labels.json",
        "findings.json",
        "01_renal_cyst_kidney_left.png",
    }
    assert all(path.stat().st_size > 0 for path in written)
    stored = nib.load(tmp_path / "patient" / "labels.nii.gz")
    assert np.array_equal(np.asarray(stored.dataobj), flat_labels(result.segmentation))
    assert np.allclose(stored.affine, result.volume.grid.affine, atol=1e-3)
    assert json.loads((tmp_path / "patient" / "findings.json").read_text())[0]["organ"] == KIDNEY_LEFT
