"""Keys that sign snapshots, made by ssh-keygen."""

import subprocess
from pathlib import Path


class Key:
    """A key of ssh-keygen, in the folder of a mounted Secret."""

    def __init__(self, base: Path, name: str, *, kind: str = "ed25519", passphrase: str = "") -> None:
        self.folder = base / name
        self.folder.mkdir()
        self.file = self.folder / "ssh-privatekey"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", f"jobs@{name}", "-f", self.file], check=True
        )
        self.public = (self.folder / "ssh-privatekey.pub").read_text().strip()

    def sign(self, document: Path, signature: Path, *, namespace: str = "ocore-snapshot") -> None:
        """By hand."""
        subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", self.file, "-n", namespace, document], check=True)
        document.with_name(f"{document.name}.sig").rename(signature)

    @property
    def fingerprint(self) -> str:
        shown = subprocess.run(["ssh-keygen", "-l", "-f", self.file], check=True, capture_output=True, text=True)
        return shown.stdout.split()[1]

    @property
    def signer(self) -> tuple[str, str]:
        return ("--signer", self.public)

    @property
    def signing(self) -> tuple[str, ...]:
        return ("--signing-key", str(self.folder), *self.signer)
