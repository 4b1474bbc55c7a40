"""Slicer's own libraries (slicer-core) and Qt (PySide6), joined so that a scripted module runs without Slicer.

Real: MRML scene, logics, segmentations, displayable managers, colour legend, `slicer.util`, Qt. Adapters of ours:
what Slicer keeps in its Qt half (`slicer.app`, IO manager, qMRML and CTK widgets, layout manager, module loading),
PythonQt's calling conventions, and recorders for what must not happen in a test (dialogs, pip, downloads).
A name that an adapter does not know raises, so that nothing passes by accident. Start with `harness.application.start`.
"""
