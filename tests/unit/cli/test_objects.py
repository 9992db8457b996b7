"""What the plugin asks the API server, where the answer must not stop it."""

from pathlib import Path

import yaml

from ocore_cli.objects import KubernetesObjects
from support.ports import free_port


def test_an_unknown_user_is_left_out(tmp_path: Path) -> None:
    """The operation itself reports that the API server cannot be reached."""
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    assert KubernetesObjects(str(path), None, "shop").user() == ""
