"""The lock of the npm packages: versions and hashes, and no address of a registry."""

import json
import re

from support.api.clients import SOURCES


def test_every_package_is_locked_by_its_hash_and_by_no_address() -> None:
    text = (SOURCES / "package-lock.json").read_text()
    packages = {name: p for name, p in json.loads(text)["packages"].items() if name}
    assert {
        "node_modules/eventsource",
        "node_modules/openapi-fetch",
        "node_modules/openapi-typescript",
    } <= packages.keys()
    assert all(p["integrity"].startswith("sha512-") for p in packages.values())
    assert re.findall(r"[a-z+]+://\S+", text) == []


def test_only_exact_versions_are_asked_for() -> None:
    asked = json.loads((SOURCES / "package.json").read_text())
    versions = {**asked["dependencies"], **asked["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", v) for v in versions.values())
