"""The console script ``kubectl-ocore``, which kubectl runs as ``kubectl ocore``."""

from .app import main

if __name__ == "__main__":
    main()
