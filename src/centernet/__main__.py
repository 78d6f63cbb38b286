"""`python -m centernet COMMAND [flags]`: the same as the command centernet."""
import sys

from centernet.cli import main

if __name__ == "__main__":
    sys.exit(main())
