"""`python -m streamd` is the command `streamd`."""

import sys

from streamd.cli import main

sys.exit(main())
