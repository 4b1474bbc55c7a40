"""CT-GLIP: ask a CT in free text. Research software, not a medical device.

Importing this package imports neither torch nor transformers; `Predictor` does, when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from CTGLIPLib.errors import CTGLIPError

if TYPE_CHECKING:
    from CTGLIPLib.predict import Predictor

__version__ = "0.1.0"
__all__ = ["CTGLIPError", "Predictor", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Predictor":
        from CTGLIPLib.predict import Predictor

        return Predictor
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
