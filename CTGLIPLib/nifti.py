"""NIfTI files, read and written whole or refused.

SimpleITK fills the missing end of a truncated NIfTI file with nothing said, writes half a file to a full disk with
nothing said, and replaces a sheared or singular sform by another grid. So this one format is read here:
- the sform counts, else the qform, else the file is refused, as left and right would be a guess
  (test_io: affines of 48 orientations equal nibabel's);
- every byte that the header announces must be there, and gzip's checksum must agree.

Source: the NIfTI-1 and NIfTI-2 headers, https://nifti.nimh.nih.gov.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from CTGLIPLib.errors import GeometryError, InputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.gunzip import CORRUPT, open_gzip

DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
COLOUR_OR_COMPLEX = {32: "complex", 128: "RGB", 1792: "complex", 2304: "RGBA"}
UNITS_TO_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
DISAGREE_MM = 0.5
LARGEST_OFFSET_BYTES = 1 << 40
LARGEST_GZIP_RATIO = 1032
"""Bytes that one byte of a gzip file can stand for; a header that announces more is wrong, and gets no memory."""
HALF_TURN = 3 * float(np.finfo(np.float32).eps)
"""A squared real part this small is rounding of a float32 quaternion of half a turn; kept, it would tilt the grid."""
Readable = BufferedReader | gzip.GzipFile


@dataclass(frozen=True)
class Header:
    """What a NIfTI header says, in our terms.

    Attributes:
        dim: the eight numbers of `dim`; dim[0] is the count of dimensions.
        dtype: the stored type with its byte order.
        offset: first byte of the voxels.
        scale: slope and intercept that turn stored values into intensities.
        codes: qform and sform code; 0 means not given.
        pixdim: the eight numbers of `pixdim`.
        quaternion: quatern_b, c, d and the three offsets.
        srow: the sform's three rows, shape (3, 4).
        unit_mm: length of the header's unit in mm.
    """

    dim: tuple[int, ...]
    dtype: np.dtype
    offset: int
    scale: tuple[float, float]
    codes: tuple[int, int]
    pixdim: tuple[float, ...]
    quaternion: tuple[float, ...]
    srow: np.ndarray
    unit_mm: float


def read_nifti(path: Path) -> tuple[np.ndarray, Grid, list[str]]:
    """The array (i, j, k), its grid, and warnings, of a .nii or .nii.gz file.

    Raises:
        InputError: if the file is not NIfTI, truncated, corrupt, not 3-D, or holds colours or complex numbers.
        GeometryError: if the header gives no usable position and orientation.
    """
    with _opened(path) as (file, header, shape):
        grid, warnings = _grid(header, shape, path)
        stored = _read_voxels(file, header, shape, path)
    return _scaled(stored, header.scale), grid, warnings


def read_nifti_shape(path: Path) -> tuple[int, int, int]:
    """The shape (i, j, k) by the header alone; raises InputError as `read_nifti`."""
    with _opened(path) as (_, _, shape):
        return shape


def read_nifti_grid(path: Path) -> Grid:
    """The grid by the header alone; raises as `read_nifti`."""
    with _opened(path) as (_, header, shape):
        return _grid(header, shape, path)[0]


def read_nifti_voxels(path: Path) -> np.ndarray:
    """The array (i, j, k) of a file whose position is wrong or missing; raises InputError as `read_nifti`."""
    with _opened(path) as (file, header, shape):
        return _scaled(_read_voxels(file, header, shape, path), header.scale)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Readable, Header, tuple[int, int, int]]]:
    """The file behind its header, the header and the shape.

    Raises:
        InputError: if the file, or what the block reads of it, is truncated or corrupt.
    """
    try:
        with _open(path) as file:
            header = _read_header(file, path)
            yield file, header, _shape(header, path)
    except CORRUPT as error:
        cause = re.sub(r" 0x[0-9a-f]+ != 0x[0-9a-f]+", "", str(error))
        msg = f"{path} could not be read to its end ({cause}). It is truncated or corrupt; copy or export it again."
        raise InputError(msg) from error


def _open(path: Path) -> Readable:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return open_gzip(path) if packed else path.open("rb")


def _read_header(file: Readable, path: Path) -> Header:
    raw = file.read(540)
    for order in "<>":
        size = struct.unpack(f"{order}i", raw[:4])[0] if len(raw) >= 348 else 0
        if size == 348 and raw[344:348] == b"n+1\0":
            return _header_1(raw, order, path)
        if size == 540 and len(raw) == 540 and raw[4:8] == b"n+2\0":
            return _header_2(raw, order, path)
    msg = f"{path} is not a NIfTI file: its header is missing or broken. Give a .nii or .nii.gz file in one piece."
    raise InputError(msg)


def _header_1(raw: bytes, order: str, path: Path) -> Header:
    pixdim = struct.unpack(f"{order}8f", raw[76:108])
    offset, slope, intercept = struct.unpack(f"{order}3f", raw[108:120])
    return Header(
        dim=struct.unpack(f"{order}8h", raw[40:56]),
        dtype=_dtype(struct.unpack(f"{order}h", raw[70:72])[0], order, path),
        offset=max(int(offset), 352) if np.isfinite(offset) else 352,
        scale=(slope, intercept),
        codes=struct.unpack(f"{order}2h", raw[252:256]),
        pixdim=pixdim,
        quaternion=struct.unpack(f"{order}6f", raw[256:280]),
        srow=np.array(struct.unpack(f"{order}12f", raw[280:328])).reshape(3, 4),
        unit_mm=UNITS_TO_MM.get(raw[123] & 7, 1.0),
    )


def _header_2(raw: bytes, order: str, path: Path) -> Header:
    return Header(
        dim=struct.unpack(f"{order}8q", raw[16:80]),
        dtype=_dtype(struct.unpack(f"{order}h", raw[12:14])[0], order, path),
        offset=max(struct.unpack(f"{order}q", raw[168:176])[0], 544),
        scale=struct.unpack(f"{order}2d", raw[176:192]),
        codes=struct.unpack(f"{order}2i", raw[344:352]),
        pixdim=struct.unpack(f"{order}8d", raw[104:168]),
        quaternion=struct.unpack(f"{order}6d", raw[352:400]),
        srow=np.array(struct.unpack(f"{order}12d", raw[400:496])).reshape(3, 4),
        unit_mm=UNITS_TO_MM.get(struct.unpack(f"{order}i", raw[500:504])[0] & 7, 1.0),
    )


def _dtype(code: int, order: str, path: Path) -> np.dtype:
    if code in DTYPES:
        return np.dtype(order + DTYPES[code])
    kind = COLOUR_OR_COMPLEX.get(code, f"type {code}")
    msg = f"{path} must hold one number per voxel, got {kind} voxels. Export the CT itself, not a picture of it."
    raise InputError(msg)


def _shape(header: Header, path: Path) -> tuple[int, int, int]:
    count = header.dim[0]
    sizes = header.dim[1 : count + 1] if 1 <= count <= 7 else ()
    if not sizes or min(sizes) < 1:
        msg = f"{path} has a corrupt header: its dimensions are {header.dim}. Copy or export the file again."
        raise InputError(msg)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) != 3:
        shown = "x".join(map(str, sizes))
        advice = "Save one time point or component as a 3-D file." if len(sizes) > 3 else "Give the whole volume."
        msg = f"{path} must be a 3-D volume, got {len(sizes)}-D ({shown}). {advice}"
        raise InputError(msg)
    return (sizes[0], sizes[1], sizes[2])


def _grid(header: Header, shape: tuple[int, int, int], path: Path) -> tuple[Grid, list[str]]:
    warnings = []
    if header.unit_mm != 1:
        warnings.append(f"The header counts in units of {header.unit_mm:g} mm; positions were converted to mm.")
    affines = [affine for affine in (_sform(header), _qform(header)) if affine is not None]
    if not affines:
        msg = (
            f"{path} stores neither sform nor qform (both codes are 0), so left and right cannot be known. "
            "Export it again from the DICOM series, or set the sform."
        )
        raise GeometryError(msg)
    try:
        grids = [Grid(shape, affine) for affine in affines]
    except GeometryError as error:
        msg = f"{path} has an unusable sform or qform. {error} Export the file again."
        raise GeometryError(msg) from error
    if len(grids) == 2:
        corner = np.array(shape) - 1
        apart = max(float(np.abs(grids[0].to_ras(p) - grids[1].to_ras(p)).max()) for p in (0 * corner, corner))
        if apart > DISAGREE_MM:
            warnings.append(f"The file's sform and qform place it {apart:.1f} mm apart; the sform is used.")
    return grids[0], warnings


def _sform(header: Header) -> np.ndarray | None:
    if header.codes[1] <= 0:
        return None
    return np.vstack([header.srow * header.unit_mm, (0, 0, 0, 1)])


def _qform(header: Header) -> np.ndarray | None:
    if header.codes[0] <= 0:
        return None
    rest = 1.0 - float(np.square(header.quaternion[:3]).sum())
    a = np.sqrt(rest) if rest > HALF_TURN else 0.0
    quaternion = np.array([a, *header.quaternion[:3]])
    a, b, c, d = quaternion / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    mirrored = -1.0 if header.pixdim[0] < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.array(header.pixdim[1:4]) * (1.0, 1.0, mirrored) * header.unit_mm
    affine[:3, 3] = np.array(header.quaternion[3:]) * header.unit_mm
    return affine


def _read_voxels(file: Readable, header: Header, shape: tuple[int, int, int], path: Path) -> np.ndarray:
    if header.offset > LARGEST_OFFSET_BYTES:
        msg = (
            f"{path} has a corrupt header: its voxels start at byte {header.offset:.3g}. Copy or export the file again."
        )
        raise InputError(msg)
    file.seek(header.offset)
    expected = math.prod(shape) * header.dtype.itemsize
    possible = path.stat().st_size * (LARGEST_GZIP_RATIO if isinstance(file, gzip.GzipFile) else 1)
    stored, got = np.empty(min(expected, possible), np.uint8), 0
    while got < expected:
        read = file.readinto(stored[got : got + (1 << 20)].data)
        if not read:
            msg = f"{path} is truncated: {expected:,} bytes of voxels announced, {got:,} found. Copy or save it again."
            raise InputError(msg)
        got += read
    while file.read(1 << 20):  # to the end, where gzip compares its checksum
        pass
    return stored.view(header.dtype).reshape(shape, order="F")


def _scaled(stored: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    slope, intercept = scale
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if slope == 0 or not np.isfinite(slope) or not np.isfinite(intercept) or (slope, intercept) == (1, 0):
        return native
    kind = np.float64 if native.dtype.itemsize > 4 else np.float32
    return (native * np.float64(slope) + np.float64(intercept)).astype(kind)


def write_nifti(array: np.ndarray, grid: Grid, path: Path) -> None:
    """Write an array (i, j, k) as NIfTI-1, gzip-compressed where the name ends in .gz, with sform and qform.

    Raises:
        OSError: if the file cannot be written wholly.
        InputError: if NIfTI has no such dtype or shape.
    """
    codes = {np.dtype(name): code for code, name in DTYPES.items()}
    if array.dtype not in codes or max(array.shape) > 32767:
        msg = f"NIfTI cannot hold {array.dtype} arrays of shape {array.shape}. Write int16 or float32, or use .nrrd."
        raise InputError(msg)
    header = _nifti_1_header(grid, codes[array.dtype], array.dtype.itemsize)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    voxels = np.ascontiguousarray(little.T).reshape(-1).view(np.uint8).data
    with path.open("wb") as raw:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=raw, mtime=0) as packed:
                packed.write(header)
                packed.write(voxels)
        else:
            raw.write(header)
            raw.write(voxels)


def _nifti_1_header(grid: Grid, code: int, itemsize: int) -> bytes:
    raw = bytearray(352)
    mirrored, quaternion = _quaternion(grid)
    struct.pack_into("<i", raw, 0, 348)
    struct.pack_into("<8h", raw, 40, 3, *grid.shape_ijk, 1, 1, 1, 1)
    struct.pack_into("<2h", raw, 70, code, itemsize * 8)
    struct.pack_into("<8f", raw, 76, mirrored, *grid.spacing_mm, 1, 1, 1, 1)
    struct.pack_into("<3f", raw, 108, 352, 1, 0)
    raw[123] = 2
    struct.pack_into("<2h", raw, 252, 1, 1)
    struct.pack_into("<6f", raw, 256, *quaternion, *grid.affine[:3, 3])
    struct.pack_into("<12f", raw, 280, *grid.affine[:3].ravel())
    raw[344:348] = b"n+1\0"
    return bytes(raw)


def _quaternion(grid: Grid) -> tuple[float, tuple[float, float, float]]:
    """NIfTI's qfac (-1 where k is mirrored) and quaternion (b, c, d) of the rotation nearest to the grid's axes."""
    u, _, v = np.linalg.svd(grid.affine[:3, :3] / np.array(grid.spacing_mm))
    rotation = u @ v
    mirrored = -1.0 if np.linalg.det(rotation) < 0 else 1.0
    r = rotation * (1.0, 1.0, mirrored)
    # The quaternion is the eigenvector of the largest eigenvalue of this symmetric matrix (Bar-Itzhack 2000).
    matrix = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    a, b, c, d = np.linalg.eigh(matrix)[1][:, -1]
    sign = -1.0 if a < 0 else 1.0
    return mirrored, (sign * float(b), sign * float(c), sign * float(d))
