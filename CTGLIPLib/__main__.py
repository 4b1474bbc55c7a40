"""`python -m CTGLIPLib` is the command `ctglip`."""

import sys

from CTGLIPLib.cli import main

sys.exit(main())
