"""Restores a snapshot without any code of ocore-snapshots: boto3 to fetch, sha256, zstd, tar and pg_restore.

Arguments: endpoint, bucket, key of the manifest, name of the new database, folder of the new filestore. Runs in a pod
with the mounted Secrets /database and /s3. Standard library and boto3 only: what docs/format.md says to do by hand.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import boto3

endpoint, bucket, manifest_key, database, folder = sys.argv[1:]
secret = {p.name: p.read_text() for p in Path("/database").iterdir() if p.is_file()}
keys = {p.name: p.read_text() for p in Path("/s3").iterdir() if p.is_file()}
s3 = boto3.client(
    "s3",
    endpoint_url=endpoint,
    aws_access_key_id=keys["accessKeyId"],
    aws_secret_access_key=keys["secretAccessKey"],
    region_name="us-east-1",
)
environment = {
    **os.environ,
    "PGHOST": secret["host"],
    "PGPORT": secret["port"],
    "PGUSER": secret["user"],
    "PGPASSWORD": secret["password"],
    "PGDATABASE": "postgres",
}
manifest = json.loads(s3.get_object(Bucket=bucket, Key=manifest_key)["Body"].read())
prefix = manifest_key[: manifest_key.index("environments/")]
work = Path("/tmp/work")
dump = work / "dump"
dump.mkdir(parents=True)
target = Path(folder)
target.mkdir(parents=True)


def fetch(entry: dict[str, str], path: Path) -> None:
    """One object, its SHA-256 compared."""
    data = s3.get_object(Bucket=bucket, Key=prefix + entry["key"])["Body"].read()
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        sys.exit(f"{entry['key']}: SHA-256 differs")
    path.write_bytes(data)


for entry in manifest["database"]["files"]:
    fetch(entry, dump / entry["key"].rsplit("/", 1)[1])
if manifest["database"]["compression"] == "external-zstd":
    subprocess.run("zstd -q -d --rm *.zst", shell=True, cwd=dump, check=True)  # noqa: S602
subprocess.run(["psql", "-qc", f'CREATE DATABASE "{database}" TEMPLATE template0'], env=environment, check=True)
subprocess.run(
    ["pg_restore", "-j2", "--no-owner", "--no-acl", "--exit-on-error", "-d", database, str(dump)],
    env=environment,
    check=True,
)
pack = work / "pack"
filestore = manifest["filestore"]
if filestore.get("base"):  # a differential: only the files that its index names as files of the base
    fetch(filestore["index"], work / "index.zst")
    lines = subprocess.run(["zstd", "-d", "-c", str(work / "index.zst")], check=True, capture_output=True).stdout
    entries = [json.loads(line) for line in lines.splitlines()]
    for pack_of_base in filestore["base"]["packs"]:
        fetch(pack_of_base, pack)
        name = pack_of_base["key"].rsplit("/", 1)[1]
        names = [entry["name"] for entry in entries if entry.get("base") and entry["pack"] == name]
        (work / "names").write_bytes("".join(f"{n}\0" for n in names).encode(errors="surrogateescape"))
        command = ["tar", "-x", "-C", folder, "-f", str(pack), "--null", "--no-unquote", "-T", str(work / "names")]
        subprocess.run([*command, "--zstd"] if name.endswith(".zst") else command, check=True)
for entry in filestore["packs"]:
    fetch(entry, pack)
    command = ["tar", "-x", "-C", folder, "-f", str(pack)]
    subprocess.run([*command, "--zstd"] if entry["key"].endswith(".zst") else command, check=True)
