"""The layouts that can be read, and which of them a folder is."""

from __future__ import annotations

import difflib
from pathlib import Path

from ctglip_training.data import (
    abdomen_atlas,
    ct_rate,
    dicom_folders,
    merlin,
    msd,
    nnunet_raw,
    rad_chest_ct,
    rad_genome,
    totalsegmentator_set,
)
from ctglip_training.data.layout import Fit, Layout, Reading
from CTGLIPLib.errors import ConfigError, InputError
from CTGLIPLib.progress import ProgressCallback

LAYOUTS: dict[str, Layout] = {
    module.LAYOUT.name: module.LAYOUT
    for module in (
        rad_genome,
        ct_rate,
        merlin,
        rad_chest_ct,
        totalsegmentator_set,
        abdomen_atlas,
        nnunet_raw,
        msd,
        dicom_folders,
    )
}
"""By name; where a folder fits several, the first wins: RadGenome-ChestCT lies around CT-RATE's volumes."""
AUTO = "auto"


def layout_named(name: str) -> Layout:
    """The layout of that name.

    Raises:
        ConfigError: if there is none; the message offers the closest.
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    close = difflib.get_close_matches(name, LAYOUTS, n=1, cutoff=0.0)[0]
    msg = f"Expected a layout, {AUTO} or one of {', '.join(LAYOUTS)}, got {name!r}. The closest is {close!r}."
    raise ConfigError(msg)


def detect_layout(root: Path) -> Layout:
    """The layout that a folder has.

    Raises:
        InputError: if it fits none; the message says which it resembles, and what is missing for it.
    """
    require_folder(root)
    resembled: dict[str, Fit] = {}
    for name, layout in LAYOUTS.items():
        found = layout.recognise(root)
        if found.fits:
            return layout
        if found.has:
            resembled[name] = found
    if not resembled:
        known = "\n".join(f"  {layout.name}: {layout.title}, {layout.example}" for layout in LAYOUTS.values())
        msg = f"{root} has no layout that is known here:\n{known}\nGive the data set's top folder as it was downloaded."
        raise InputError(msg)
    lines = "\n".join(f"  {_described(LAYOUTS[name], found)}" for name, found in resembled.items())
    msg = f"{root} resembles a known layout, but is not complete:\n{lines}\nAdd what is missing, or check --root."
    raise InputError(msg)


def read_layout(root: Path, name: str = AUTO, progress: ProgressCallback | None = None) -> tuple[Layout, Reading]:
    """The layout and the studies of a folder.

    Args:
        root: the data set's top folder.
        name: the layout, or "auto".
        progress: told how far the reading is; may stop it.

    Raises:
        ConfigError: if there is no such layout.
        InputError: if the folder does not fit, or a table is broken.
        Cancelled: if `progress` says so.
    """
    if name == AUTO:
        layout = detect_layout(root)
        return layout, layout.read(root, progress)
    layout = layout_named(name)
    require_folder(root)
    found = layout.recognise(root)
    if not found.fits:
        msg = f"{root} is not {_described(layout, found)}. Add what is missing, or use --layout {AUTO}."
        raise InputError(msg)
    return layout, layout.read(root, progress)


def require_folder(root: Path) -> None:
    """Raise InputError unless the root is a folder."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        msg = f"Expected the folder of a data set, but {root} {what}. Give it with --root."
        raise InputError(msg)


def _described(layout: Layout, found: Fit) -> str:
    has = "; has " + ", ".join(found.has) if found.has else ""
    missing = ", ".join(found.missing) or f"volumes such as {layout.example}"
    return f"{layout.name} ({layout.title}){has}; missing: {missing}"
