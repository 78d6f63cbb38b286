"""`python -m centernet COMMAND [flags]`: the same as the command `centernet`."""
from centernet.cli import console

if __name__ == "__main__":
    console()
