"""`python -m scs_jax`: the same as the command `scs-jax`."""

import sys

from scs_jax.cli.main import main

if __name__ == "__main__":  # data workers import this module again; they must not start a run
  sys.exit(main())
