"""syft for the SBOMs. It is built from Go modules that release/tools locks."""

import json
import os
import subprocess
from pathlib import Path

from .archive import encoded
from .source import ReleaseError

#: What differs from run to run.
RANDOM = ("serialNumber",)


def sbom(syft: Path, archive: Path, target: Path, created: str, platform: str) -> None:
    """CycloneDX of the image in an OCI archive; of several images of that for a platform."""
    environment = {**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    # The name of the temporary file would be in the result.
    command = [str(syft), "scan", f"oci-archive:{archive.name}", "--output", "cyclonedx-json", "--quiet"]
    command += ["--platform", platform] if platform else []
    done = subprocess.run(command, cwd=archive.parent, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"syft failed for {archive.name}: {done.stderr.decode(errors='replace')[-2000:]}")
    found = json.loads(done.stdout)
    for name in RANDOM:
        found.pop(name, None)
    found["metadata"]["timestamp"] = created
    target.write_bytes(encoded(found) + b"\n")
