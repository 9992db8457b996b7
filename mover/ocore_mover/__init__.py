"""The mover: the program that a Job runs (:mod:`ocore_mover.__main__`)."""
