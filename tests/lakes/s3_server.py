"""Runs an S3 server (SeaweedFS, from PyPI) on loopback until standard input ends.

Arguments: bucket, access key, secret key. Prints the endpoint when the bucket is there.
"""

import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

from pyarrow import fs

bucket, key, secret = sys.argv[1:]


def free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    owner = {"name": "owner", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [owner]}))
    s3 = free()
    # A gRPC port is 10,000 above its port unless it is named.
    services = [f"-{service}.port{kind}={free()}" for service in ("master", "volume", "filer") for kind in ("", ".grpc")]
    weed = pathlib.Path(sys.executable).with_name("weed")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-master.volumeSizeLimitMB=64",
             "-volume.max=0", "-filer", "-s3", f"-s3.port={s3}", f"-s3.port.grpc={free()}", "-s3.port.iceberg=0", "-s3.port.lance=0",
             f"-s3.config={folder}/s3.json", *services],
            stdout=log, stderr=log,
        )
    try:
        endpoint = f"http://127.0.0.1:{s3}"
        store = fs.S3FileSystem(
            access_key=key, secret_key=secret, endpoint_override=endpoint, region="us-east-1",
            allow_bucket_creation=True, connect_timeout=2, request_timeout=5,
        )
        for _ in range(120):
            try:
                store.create_dir(bucket)
                break
            except OSError as error:
                last = error
                if server.poll() is not None:
                    sys.exit(f"the S3 server ended\n{(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.5)
        else:
            sys.exit(f"{last}\n{(folder / 'log').read_text()}")
        print(endpoint, flush=True)
        sys.stdin.read()
    finally:
        server.kill()
        server.wait()
