"""The command line, as `python -m ccvae`."""

import sys

from ccvae.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
