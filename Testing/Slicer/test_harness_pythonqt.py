"""PySide6 behaves as PythonQt does (harness/pythonqt.py)."""

from __future__ import annotations

import pytest


@pytest.fixture
def qt(scene):
    import qt

    return qt


def test_a_property_is_an_attribute(qt):
    button = qt.QPushButton("Apply")
    button.enabled = False
    assert (button.text, button.enabled, button.isEnabled()) == ("Apply", False, False)


def test_a_property_that_a_subclass_computes_itself_is_an_attribute_too(qt):
    label = qt.QLabel("some text")
    assert label.sizeHint.width() > 0


def test_a_getter_cannot_be_called_where_a_property_has_its_name(qt):
    with pytest.raises(TypeError, match="not callable"):
        qt.QPushButton("Apply").text()


def test_an_enumeration_can_be_set_as_a_property(qt):
    label = qt.QLabel()
    label.alignment = qt.Qt.AlignRight
    assert label.alignment == qt.Qt.AlignRight


def test_a_static_function_named_like_a_property_stays_on_the_class(qt):
    calls = []
    qt.QTimer.singleShot(0, lambda: calls.append(1))
    qt.QApplication.processEvents()
    assert calls == [1]


def test_a_read_only_property_cannot_be_set(qt):
    with pytest.raises(AttributeError, match="sizeHint cannot be set"):
        qt.QLabel().sizeHint = qt.QSize(1, 1)


def test_an_attribute_that_qt_does_not_have_cannot_be_set(qt):
    with pytest.raises(AttributeError, match="no attribute 'tooltip'"):
        qt.QPushButton().tooltip = "misspelt"


def test_a_python_subclass_may_have_attributes_of_its_own(qt):
    class Button(qt.QPushButton):
        def __init__(self):
            super().__init__()
            self.rows = [1]

    assert Button().rows == [1]


def test_an_override_of_a_virtual_function_is_used_by_qt(qt):
    class Label(qt.QLabel):
        def sizeHint(self):
            return qt.QSize(77, 33)

    label = Label("x")
    label.adjustSize()
    assert (label.width, label.height) == (77, 33)


def test_a_name_that_qt_does_not_have_raises(qt):
    with pytest.raises(AttributeError, match="QMagicWidget"):
        _ = qt.QMagicWidget


@pytest.mark.parametrize(
    ("signature", "got"), [("clicked()", ()), ("clicked(bool)", (False,)), ("clicked( bool )", (False,))]
)
def test_the_signature_says_which_arguments_arrive(qt, signature, got):
    calls, button = [], qt.QPushButton()
    button.connect(signature, lambda *arguments: calls.append(arguments))
    button.click()
    assert calls == [got]


def test_arguments_that_a_function_does_not_take_are_left_out(qt):
    calls, button = [], qt.QPushButton()
    button.connect("clicked(bool)", lambda: calls.append("none"))
    button.clicked.connect(lambda: calls.append("none, by attribute"))
    button.click()
    assert calls == ["none", "none, by attribute"]


def test_a_signal_with_two_arguments_gives_both(qt):
    calls, table = [], qt.QTableWidget(2, 3)
    table.connect("cellClicked(int,int)", lambda row, column: calls.append((row, column)))
    table.cellClicked.emit(1, 2)
    assert calls == [(1, 2)]


@pytest.mark.parametrize("signature", ["cliked()", "clicked(QString)", "clicked", "currentIndexChanged(QString)"])
def test_an_unknown_signature_is_refused(qt, signature):
    with pytest.raises(ValueError, match="has no signal"):
        qt.QPushButton().connect(signature, print)


def test_a_receiver_with_a_slot_is_connected(qt):
    slider, box = qt.QSlider(), qt.QSpinBox()
    slider.connect("valueChanged(int)", box, "setValue(int)")
    slider.value = 7
    assert box.value == 7


def test_an_unknown_slot_is_refused(qt):
    with pytest.raises(ValueError, match="has no slot"):
        qt.QSlider().connect("valueChanged(int)", qt.QSpinBox(), "setValeu(int)")


def test_disconnect_undoes_one_connection(qt):
    calls, button = [], qt.QPushButton()

    def first():
        calls.append("first")

    def second():
        calls.append("second")

    button.connect("clicked()", first)
    button.connect("clicked()", second)
    assert button.disconnect("clicked()", first)
    button.click()
    assert calls == ["second"]
    assert not button.disconnect("clicked()", first)


def test_a_timer_calls_after_its_interval(qt, slicerApp):
    calls, timer = [], qt.QTimer()
    timer.interval = 1
    timer.connect("timeout()", lambda: calls.append(1))
    timer.start()
    while not calls:
        slicerApp.processEvents()
    timer.stop()
    assert not timer.active


def test_many_calls_leave_none_and_true_alive(qt):
    """PySide6 6.12.0 gave back a reference too many with each call and aborted the process after some thousands."""
    import sys

    label = qt.QLabel("x")
    before = sys.getrefcount(None), sys.getrefcount(True)
    for _ in range(3000):
        label.hide()
        label.isEnabled()
    after = sys.getrefcount(None), sys.getrefcount(True)
    assert all(abs(b - a) < 1000 for a, b in zip(before, after, strict=True))


def test_settings_are_kept_in_the_temporary_folder(qt, slicerApp):
    from harness import temporary

    settings = qt.QSettings()
    settings.setValue("CTGLIP/answer", 5)
    assert settings.fileName().startswith(str(temporary.folder("settings")))
    assert slicerApp.userSettings().contains("CTGLIP/answer")
