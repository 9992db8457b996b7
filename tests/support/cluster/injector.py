"""A webhook that injects containers into the pods of Jobs, as a service mesh does. Tests run this file in a pod: it
needs only the standard library."""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 8443


def patch_of(pod: dict[str, Any], image: str) -> list[dict[str, Any]]:
    """The JSON patch that adds a container which never ends, and an init container that keeps running: a native
    sidecar."""
    container: dict[str, Any] = {
        "name": "injected",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", "import time\nwhile True: time.sleep(1)"],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    native = {**container, "name": "injected-native", "restartPolicy": "Always"}
    path = "/spec/initContainers/-" if pod["spec"].get("initContainers") else "/spec/initContainers"
    return [
        {"op": "add", "path": "/spec/containers/-", "value": container},
        {"op": "add", "path": path, "value": native if path.endswith("-") else [native]},
    ]


def answer(review: dict[str, Any], image: str) -> dict[str, Any]:
    """The AdmissionReview with the patch."""
    request = review["request"]
    patch = json.dumps(patch_of(request["object"], image)).encode()
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": request["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(patch).decode(),
        },
    }


def main() -> None:
    """Serves `IMAGE CERTIFICATE KEY` until the process ends."""
    image, certificate, key = sys.argv[1:]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(b"ok")

        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(json.dumps(answer(review, image)).encode())

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(certificate), Path(key))
    server = ThreadingHTTPServer(("", PORT), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
