"""Makes the extension's screenshots: the module's real panel and Slicer's real views, on the public CTs.

    python Testing/Slicer/make_screenshots.py Resources/Screenshots

Needs the CTs ($CTGLIP_DATA) and the shipped model. The window around panel and views is the harness's, not Slicer's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[1] / "CTGLIP")]
VIEW_SIZE = (430, 400)
PANEL_WIDTH = 440


def main(folder: Path) -> None:
    """Write chest.png, abdomen.png and heatmap.png into the folder."""
    import slicer
    from harness import application, study_nodes
    from harness.layout_manager import LayoutManager

    app = application.start(views=True)
    application.closeViews()
    app._layoutManager = LayoutManager(VIEW_SIZE)
    data = Path(os.environ.get("CTGLIP_DATA", HERE.parents[2] / "shared" / "data"))
    folder.mkdir(parents=True, exist_ok=True)
    shots = Shots(folder)
    chest = study_nodes.addStudy(study_nodes.chestArrays(data, (2, 2, 1)), "LIDC chest CT")
    shots.take(
        "chest",
        chest,
        ("pleural effusion", "pulmonary nodule", "emphysema", "fatty liver"),
        "pulmonary nodule",
        "fitted",
    )
    shots.heatmap("heatmap")
    slicer.mrmlScene.Clear(0)
    abdomen = study_nodes.addStudy(study_nodes.abdomenArrays(data), "Abdomen CT")
    shots.take(
        "abdomen",
        abdomen,
        ("urinary bladder", "splenomegaly", "kidney stone", "vertebral fracture"),
        "kidney stone",
        "fixed",
    )
    shots.close()


class Shots:
    """The window with the module's panel beside four views."""

    def __init__(self, folder: Path):
        import slicer
        from flow_rig import FakeInstaller, Flow
        from PySide6 import QtWidgets

        self.folder = folder
        self.flow = Flow(None, FakeInstaller())
        self.window = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(self.window)
        row.setContentsMargins(4, 4, 4, 4)
        scroll = QtWidgets.QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFixedWidth(PANEL_WIDTH)
        scroll.setWidget(self.flow.frame)
        row.addWidget(scroll)
        row.addWidget(slicer.app.layoutManager())
        self.window.show()

    def take(self, name: str, study: object, questions: tuple[str, ...], shown: str, colourRange: str) -> None:
        """Ask, show one answer in all views and in 3D, and write the picture."""
        import slicer

        display = study.volume.GetDisplayNode()
        display.SetAutoWindowLevel(0)
        display.SetWindowLevel(400, 40)
        slicer.util.setSliceViewerLayers(background=study.volume, fit=True)
        flow = self.flow
        flow.choose(study.volume, study.segmentation)
        flow.ui.inputsSection.collapsed = True
        flow.ask(*questions)
        titles = [flow.ui.shownQuestionComboBox.itemText(n) for n in range(flow.ui.shownQuestionComboBox.count)]
        flow.ui.shownQuestionComboBox.currentIndex = next(n for n, title in enumerate(titles) if shown in title)
        flow.ui.colourRangeComboBox.currentIndex = flow.ui.colourRangeComboBox.findData(colourRange)
        flow.click("show3DButton")
        flow.until(lambda: not flow.panel.results.view._surfaces.isWorking)
        flow.clickRow(shown)
        slicer.util.resetThreeDViews()
        self.grab(name)

    def heatmap(self, name: str) -> None:
        """Ask for the shown answer's heat map, jump to its hottest spot, and write the picture."""
        import slicer

        flow = self.flow
        flow.click("heatmapButton")
        flow.until(lambda: not flow.session.isBusy)
        assert not flow.error, flow.error
        shown = flow.ui.shownQuestionComboBox.currentText.split(". ", 1)[1].split(":")[0]
        flow.clickRow(shown)
        slicer.util.resetThreeDViews()
        self.grab(name)

    def grab(self, name: str) -> None:
        """Render everything and write the picture."""
        import slicer

        for _ in range(2):
            slicer.app.layoutManager().render()
            slicer.app.processEvents()
        self.window.grab().save(str(self.folder / f"{name}.png"))

    def close(self) -> None:
        """End the child process."""
        self.flow.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)
