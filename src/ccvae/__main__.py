"""The command line, as `python -m ccvae`."""

import sys

from ccvae.cli.main import main

sys.exit(main())
