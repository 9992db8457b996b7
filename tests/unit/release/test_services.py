"""images/mover/keep-services: the mover's image has botocore's descriptions of a few services only."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import pytest
from botocore.config import Config
from botocore.loaders import Loader

from support.cluster.cluster import REPOSITORY

SCRIPT = REPOSITORY / "images/mover/keep-services"
DATA = Path(botocore.__file__).parent / "data"
REGIONS = ("us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "a-region-of-another-server")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """botocore's data after the script, as in an image."""
    prefix = tmp_path_factory.mktemp("prefix")
    data = prefix / "lib/python3.13/site-packages/botocore/data"
    data.mkdir(parents=True)
    for path in DATA.iterdir():
        if not path.is_dir():
            shutil.copy(path, data)
        elif path.name in ("ec2", "s3", "s3control", "signin", "sso", "sso-oidc", "sts"):
            shutil.copytree(path, data / path.name)
        else:
            (data / path.name).mkdir()
    subprocess.run([SCRIPT, prefix], check=True, timeout=60)
    return data


def loader(data: Path) -> Loader:
    """Of this folder and of nothing else."""
    return Loader(extra_search_paths=[str(data)], include_default_search_paths=False)


def addresses(data: Path) -> list[str]:
    """Where a client of each kind sends its requests."""
    session = botocore.session.Session()
    session.set_credentials("key", "secret")
    session.register_component("data_loader", loader(data))
    found = []
    for region in REGIONS:
        for endpoint in (None, "https://s3.example.com:9000"):
            for style in ("path", "virtual"):
                config = Config(s3={"addressing_style": style}, signature_version="s3v4")
                client = session.create_client("s3", region_name=region, endpoint_url=endpoint, config=config)
                url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket-of-ours", "Key": "a/b"})
                found.append(url.partition("?")[0])
        found.append(session.create_client("sts", region_name=region).meta.endpoint_url)
    return found


def test_what_is_left_are_the_services_of_the_mover(kept: Path) -> None:
    names = {path.name for path in kept.iterdir() if path.is_dir()}
    assert names == {"s3", "signin", "sso", "sso-oidc", "sts"}
    partitions = loader(kept).load_data("endpoints")["partitions"]
    assert {name for partition in partitions for name in partition["services"]} <= names
    assert len(partitions) == len(Loader().load_data("endpoints")["partitions"])


def test_addresses_are_those_of_the_whole_botocore(kept: Path) -> None:
    assert addresses(kept) == addresses(DATA)


def without_documentation(found: Any) -> Any:
    """A model of botocore without its texts for people; members of shapes are in `members`, whatever their names."""
    if isinstance(found, dict):
        return {k: without_documentation(v) for k, v in found.items() if k != "documentation"}
    return [without_documentation(each) for each in found] if isinstance(found, list) else found


@pytest.mark.parametrize("service", ["s3", "sts", "sso", "sso-oidc", "signin"])
def test_a_service_lacks_nothing_but_its_documentation(kept: Path, service: str) -> None:
    ours, whole = loader(kept), Loader()
    found = ours.load_service_model(service, "service-2")
    expected = whole.load_service_model(service, "service-2")
    for part in ("operations", "shapes"):
        expected[part] = without_documentation(expected[part])
    assert found == expected
    rules = "endpoint-rule-set-1"
    assert ours.load_service_model(service, rules) == whole.load_service_model(service, rules)
    assert not [*kept.rglob("*.gz")], "it is unpacked at each start"


def test_another_layout_of_botocore_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lib/python3.13/site-packages/botocore").mkdir(parents=True)
    done = subprocess.run([SCRIPT, tmp_path], capture_output=True, check=False, timeout=60)
    assert done.returncode
