"""The mover: the program that a Job runs (:mod:`ocore_mover.__main__`)."""

import sys

# structlog imports rich where it is installed (with typer), for tracebacks on a terminal. A Job logs JSON, and rich takes a seventh of its start.
if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it raises ImportError
    import structlog  # noqa: F401

    del sys.modules["rich"]
