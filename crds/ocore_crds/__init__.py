"""What every program shares: the resources' models, the Job protocol, the manifest, names, conditions.

Models and functions do no I/O, but for ``failpoints`` (reads the environment, ends the process), ``troubleshooting``
(reads a file of this package) and ``generate`` (writes the generated files; no program imports it).
"""
