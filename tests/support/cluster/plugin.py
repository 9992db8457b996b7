"""`kubectl ocore` in this process: each process of Python costs a second of imports."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

import pytest

from ocore_cli.app import main

from .cluster import Cluster


def ocore(cluster: Cluster, *arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    kubeconfig = () if "--kubeconfig" in arguments else ("--kubeconfig", cluster.env["KUBECONFIG"])
    output = io.StringIO()
    with (
        patch.object(sys, "argv", ["kubectl-ocore", *arguments, *kubeconfig]),
        redirect_stdout(output),
        redirect_stderr(output),
        pytest.raises(SystemExit) as end,
    ):
        main()
    assert isinstance(end.value.code, int)
    return end.value.code, output.getvalue()
