"""The commands and settings of docs/rest-api-authentication.md work."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ocore_api.auth import Authenticator
from ocore_api.settings import Settings
from support.api.issuer import AUDIENCE, ISSUER, Issuer
from support.cluster.cluster import REPOSITORY

PAGE = (REPOSITORY / "docs/rest-api-authentication.md").read_text()
VALUES = yaml.safe_load((REPOSITORY / "charts/ocore-snapshots/values.yaml").read_text())["api"]


def test_the_static_key_set(tmp_path: Path) -> None:
    (block,) = (b for b in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "genpkey" in b)
    commands = re.sub(r"^kubectl .*$", "", block, flags=re.MULTILINE).replace("python3", sys.executable)
    subprocess.run(["bash", "-euc", commands], cwd=tmp_path, check=True, timeout=60)
    private = load_pem_private_key((tmp_path / "issuer.pem").read_bytes(), None)
    claims = jwt.decode(Issuer().token(), options={"verify_signature": False})
    token = jwt.encode(claims, private, algorithm="EdDSA", headers={"kid": "2026-01"})  # type: ignore[arg-type]
    settings = Settings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwks_file=tmp_path / "jwks.json")  # type: ignore[arg-type]

    async def work() -> str:
        return (await Authenticator(settings).authenticate(f"Bearer {token}")).subject

    assert asyncio.run(work()) == "alice"


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_every_value_of_an_example_exists_in_the_chart(block: str) -> None:
    def unknown(shown: object, known: object) -> list[str]:
        if not isinstance(shown, dict) or not isinstance(known, dict):
            return []
        return [k for k in shown if k not in known] + [
            u for k in shown if k in known for u in unknown(shown[k], known[k])
        ]

    assert unknown(yaml.safe_load(block)["api"], VALUES) == []


def test_every_setting_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`([a-z]+[A-Z][A-Za-z]*)`", PAGE)) - {"performedBy", "EventSource"}
    assert named
    assert named - set(VALUES["settings"]) == set()
