"""Data sets in miniature, in the layouts in which they are published: what the tests of readers and checks share."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume

SIZE = 24
SPACING_MM = 5.0
GRID = Grid((SIZE, SIZE, SIZE), np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0]))
CENTRES = {  # voxels on GRID: i grows to the right, j to the front, k to the head
    "liver": (16, 13, 14),
    "spleen": (7, 9, 14),
    "kidney_left": (8, 7, 10),
    "kidney_right": (15, 7, 10),
    "heart": (11, 15, 20),
    "urinary_bladder": (12, 14, 3),
    "aorta": (11, 10, 12),
}
CT_RATE_LABELS = ("Medical material", "Cardiomegaly", "Pleural effusion")


def ct(seed: int = 0) -> np.ndarray:
    """A soft-tissue cylinder in air, int16 HU, shape (24, 24, 24)."""
    index = np.indices((SIZE, SIZE, SIZE)) - (SIZE - 1) / 2
    body = np.hypot(index[0], index[1]) < SIZE * 0.42
    noise = np.random.default_rng(seed).normal(0, 12, body.shape)
    return np.where(body, 40 + noise, -1000).astype(np.int16)


def organ(name: str) -> np.ndarray:
    """The mask of an organ of the cylinder: a ball."""
    index = np.indices((SIZE, SIZE, SIZE))
    middle = np.array(CENTRES[name])[:, None, None, None]
    return np.linalg.norm(index - middle, axis=0) < 2.2


def write_ct(path: Path, seed: int = 0, grid: Grid = GRID) -> Path:
    """A CT at `path`."""
    write_volume(ct(seed), grid, path)
    return path


def write_masks(folder: Path, names: Sequence[str] = ("liver", "spleen", "kidney_left"), grid: Grid = GRID) -> None:
    """One mask an organ; names that are no organ of the cylinder get the liver's place."""
    for name in names:
        write_volume(organ(name if name in CENTRES else "liver"), grid, folder / f"{name}.nii.gz")


def write_label_map(path: Path, names: Sequence[str] = ("liver", "spleen"), grid: Grid = GRID) -> None:
    """A label map in which the n-th name has the id n."""
    labels = np.zeros((SIZE, SIZE, SIZE), np.uint8)
    for number, name in enumerate(names, start=1):
        labels[organ(name if name in CENTRES else "liver")] = number
    write_volume(labels, grid, path)


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], delimiter: str = ",") -> None:
    """A table with the first row's columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_xlsx(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """A workbook with one sheet: texts shared, as Excel writes them, numbers in place."""
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    texts: list[str] = []
    sheet = ""
    for number, line in enumerate(lines, start=1):
        cells = ""
        for column, value in zip("ABCDEFGH", line, strict=False):
            if isinstance(value, str):
                texts.append(value)
                cells += f'<c r="{column}{number}" t="s"><v>{len(texts) - 1}</v></c>'
            else:
                cells += f'<c r="{column}{number}"><v>{value}</v></c>'
        sheet += f'<row r="{number}">{cells}</row>'
    shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("xl/worksheets/sheet1.xml", f"<worksheet {space}><sheetData>{sheet}</sheetData></worksheet>")
        book.writestr("xl/sharedStrings.xml", f"<sst {space}>{shared}</sst>")


def ct_rate_metadata(name: str, **changes: object) -> dict[str, object]:
    """A row of CT-RATE's metadata for an unfixed copy of the cylinder."""
    return {
        "VolumeName": name,
        "Manufacturer": "Maker",
        "XYSpacing": f"[{SPACING_MM}, {SPACING_MM}]",
        "ZSpacing": SPACING_MM,
        "RescaleSlope": 1,
        "RescaleIntercept": -8192,
        "NumberofSlices": SIZE,
        "ImagePositionPatient": "[-10.0, -20.0, 30.0]",
        "ImageOrientationPatient": "[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]",
    } | changes


def unfixed(seed: int) -> np.ndarray:
    """The cylinder as CT-RATE stores it unfixed: not in HU."""
    return (ct(seed).astype(np.int32) + 8192).astype(np.int16)


def make_ct_rate(root: Path) -> Path:
    """Two patients unfixed, one of them fixed too, one of the validation set; tables, and a volume without chest."""
    names = ("train_1_a_1", "train_1_a_2", "train_2_a_1", "valid_1_a_1")
    header = Grid(GRID.shape_ijk, np.eye(4))
    for seed, name in enumerate(names):
        split, patient, scan, _ = name.split("_")
        place = f"{split}_{patient}/{split}_{patient}_{scan}/{name}.nii.gz"
        write_volume(unfixed(seed), header, root / "dataset" / split / place)
        if name == "train_2_a_1":
            write_ct(root / "dataset" / "train_fixed" / place, seed)
    for table, split in (("train", "train"), ("validation", "valid")):
        own = [f"{name}.nii.gz" for name in names if name.startswith(split)]
        metadata = root / "dataset" / "metadata"
        write_csv(metadata / f"{table}_metadata.csv", [ct_rate_metadata(name) for name in own])
        reports = [
            {"VolumeName": n, "ClinicalInformation_EN": "", "Findings_EN": f"Clear lungs in {n}.\nNo effusion.",
             "Impressions_EN": "Not given."} for n in [*own, f"{split}_99_a_1.nii.gz"]
        ]  # fmt: skip
        write_csv(root / "dataset" / "radiology_text_reports" / f"{table}_reports.csv", reports)
        labels = [{"VolumeName": name, **dict(zip(CT_RATE_LABELS, (0, 1, 0), strict=True))} for name in own]
        write_csv(root / "dataset" / "multi_abnormality_labels" / f"{split}_predicted_labels.csv", labels)
    (root / "dataset" / "metadata" / "no_chest_train.txt").write_text("train_1_a_2.nii.gz\n", encoding="utf-8")
    return root


def make_rad_genome(root: Path) -> Path:
    """One volume with masks and a report by region."""
    write_ct(root / "dataset" / "train_preprocessed" / "train_1" / "train_1a" / "train_1_a_1.nii.gz")
    write_masks(root / "dataset" / "train_region_mask" / "seg_train_1_a_1", ("lung", "heart", "esophagus"))
    volume = {"Volumename": "train_1_a_1.nii.gz"}
    tables = root / "dataset" / "radgenome_files"
    write_csv(
        tables / "train_region_report.csv",
        [
            {**volume, "Anatomy": "heart", "Sentence": "The heart is large."},
            {**volume, "Anatomy": "heart", "Sentence": "No pericardial effusion."},
            {**volume, "Anatomy": "", "Sentence": "Motion artefacts."},
        ],
    )
    write_csv(
        tables / "train_vqa_presence.csv",
        [
            {**volume, "Anatomy": "heart", "Finding": "cardiomegaly", "Presence": "Yes."},
            {**volume, "Anatomy": "lung", "Finding": "nodule", "Presence": "No."},
        ],
    )
    return root


def make_merlin(root: Path) -> Path:
    """Two studies, a .nii.gz and a .nii, one of them reported twice."""
    write_ct(root / "merlin_data" / "AC1.nii.gz", 1)
    write_ct(root / "merlin_data" / "AC2.nii", 2)
    write_xlsx(
        root / "reports_final.xlsx",
        [
            {"study id": "AC1", "Findings": "Liver & spleen.\nIMPRESSION: < 1 cm", "Split": "train", "Few Shot": 0},
            {"study id": "AC2", "Findings": "Short.", "Split": "test", "Few Shot": 0},
            {"study id": "AC2", "Findings": "The longer, final text.", "Split": "test", "Few Shot": 0},
            {"study id": "AC9", "Findings": "Not downloaded.", "Split": "val", "Few Shot": 1},
        ],
    )  # fmt: skip
    findings = [
        {"study id": "AC1", "ascites": 0, "splenomegaly": 1, "free_air": -1},
        {"study id": "AC2", "ascites": -1, "splenomegaly": -1, "free_air": 0},
    ]
    write_csv(root / "zero_shot_findings_disease_cls.csv", findings)
    write_csv(root / "five_years_disease_task.csv", [{"study id": "AC2", "diabetes": 1, "merlin_split": "train"}])
    return root


def make_rad_chest_ct(root: Path, patients: bool = True) -> Path:
    """A volume of each split as npz, counted from head to foot, front to back, right to left."""
    for seed, name in enumerate(("trn00001", "val00001", "tst00001")):
        array = np.repeat(ct(seed), 3, axis=2)  # 72 slices of 0.8 mm are 57.6 mm, a body's height
        array = np.repeat(np.repeat(array, 3, axis=0), 3, axis=1)
        turned = array[::-1, ::-1, ::-1].transpose(2, 1, 0)
        root.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(root / f"{name}.npz", ct=turned)
    for part, name in (("train", "trn00001"), ("valid", "val00001"), ("test", "tst00001")):
        rows = [{"NoteAcc_DEID": name, "nodule*left_lung": 0, "nodule*right_lung": 1, "mass*left_lung": 0}]
        write_csv(root / f"img{part}_Abnormality_and_Location_Labels.csv", rows)
    if patients:
        rows = [{"NoteAcc_DEID": name, "MRN_DEID": "M1"} for name in ("trn00001", "val00001")]
        write_csv(root / "CT_Scan_Metadata_Complete_35747.csv", [*rows, {"NoteAcc_DEID": "tst00001", "MRN_DEID": "M2"}])
    return root


def make_totalsegmentator(root: Path) -> Path:
    """Two subjects, and a meta.csv that knows a third."""
    for seed, name in enumerate(("s0000", "s0001")):
        write_ct(root / name / "ct.nii.gz", seed)
        write_masks(root / name / "segmentations", tuple(CENTRES))
    rows = [{"image_id": f"s000{n}", "age": 60, "split": split} for n, split in enumerate(("train", "test", "val"))]
    write_csv(root / "meta.csv", rows, delimiter=";")
    return root


def make_abdomen_atlas(root: Path) -> Path:
    """A case with masks, one with a label map alone."""
    for number in (1, 2):
        folder = root / f"BDMAP_0000000{number}"
        write_ct(folder / "ct.nii.gz", number)
        write_label_map(folder / "combined_labels.nii.gz", ("aorta", "gall_bladder", "kidney_left"))
    write_masks(root / "BDMAP_00000001" / "segmentations", ("aorta", "gall_bladder", "celiac_trunk"))
    return root


def make_msd(root: Path, **changes: object) -> Path:
    """Two training cases, one test case, a listed one that is missing, and macOS's shadow of a file."""
    for seed, name in enumerate(("liver_0", "liver_1")):
        write_ct(root / "imagesTr" / f"{name}.nii.gz", seed)
        write_label_map(root / "labelsTr" / f"{name}.nii.gz", ("liver", "cancer"))
    write_ct(root / "imagesTs" / "liver_2.nii.gz", 2)
    (root / "imagesTr" / "._liver_0.nii.gz").write_bytes(b"shadow")
    pairs = [{"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"} for n in (0, 1, 7)]
    shadow = {"image": "./imagesTr/._liver_0.nii.gz", "label": "./labelsTr/._liver_0.nii.gz"}
    facts = {
        "name": "Liver",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "training": [*pairs, shadow],
        "test": ["./imagesTs/liver_2.nii.gz"],
    } | changes
    (root / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    return root


def make_nnunet(root: Path, version: int = 2, ending: str = ".nii.gz", **changes: object) -> Path:
    """Two training cases and a test case; version 2 lists its channels as channel_names, version 1 as modality."""
    for seed, name in enumerate(("case_a", "case_b")):
        write_ct(root / "imagesTr" / f"{name}_0000{ending}", seed)
        write_label_map(root / "labelsTr" / f"{name}{ending}", ("liver", "spleen"))
    write_ct(root / "imagesTs" / f"case_c_0000{ending}", 2)
    if version == 1:
        facts: dict[str, object] = {
            "modality": {"0": "CT"},
            "labels": {"0": "background", "1": "liver", "2": "spleen"},
            "training": [{"image": "./imagesTr/case_a.nii.gz", "label": "./labelsTr/case_a.nii.gz"}],
            "test": [],
        }
    else:
        labels = {"background": 0, "liver": 1, "spleen": 2}
        facts = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ending}
    (root / "dataset.json").write_text(json.dumps(facts | changes), encoding="utf-8")
    return root


def write_dicom(folder: Path, seed: int = 0, patient: str = "", modality: str = "CT", count: int = SIZE) -> str:
    """A series of slices in DICOM's own orientation; its UID."""
    folder.mkdir(parents=True, exist_ok=True)
    series, array = generate_uid(), ct(seed)
    for number in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        image.SeriesInstanceUID, image.Modality, image.PatientID = series, modality, patient
        image.SeriesDescription = f"series {seed}"
        image.Rows = image.Columns = SIZE
        image.PixelSpacing = [SPACING_MM, SPACING_MM]
        image.ImagePositionPatient = [0, 0, number * SPACING_MM]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 1, 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.RescaleSlope, image.RescaleIntercept = 1, 0
        image.PixelData = array[:, :, number].T.tobytes()
        pydicom.dcmwrite(folder / f"{seed}_{number:03d}.dcm", image)
    return str(series)


def make_dicom(root: Path) -> Path:
    """Two patients: one with two series in one folder and an MR, one with a single series."""
    write_dicom(root / "one" / "a", 1, "SECRET-1")
    write_dicom(root / "one" / "a", 2, "SECRET-1")
    write_dicom(root / "one" / "mr", 3, "SECRET-1", modality="MR", count=3)
    write_dicom(root / "two" / "b", 4, "SECRET-2")
    return root
