"""A model hub on this machine: what the installed client asks of one, and no more."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

TOKEN = "hf_standin"  # noqa: S105
READER = "hf_reader"  # may not write


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    commits: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(self.commits).encode(), usedforsecurity=False).hexdigest()


@dataclass
class Hub:
    """``breaks`` is the part of a path whose requests are answered with an error."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    breaks: str | None = None


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self._begin()
        if path is None:
            return
        if path.startswith("/api/models/"):
            name = "/".join(path.removeprefix("/api/models/").split("/")[:2])
            self._list(name) if "/tree/" in path else self._describe(name)
        elif "/resolve/" in path:
            self._resolve(path)
        else:
            self._answer({"error": f"unknown {path}"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        path = self._begin()
        if path is None:
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (TOKEN, READER):
            self._answer({"error": "Invalid credentials"}, 401)
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif token == READER:
            self._answer({"error": "Forbidden"}, 403)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in path:
            self._preupload(path, json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif "/commit/" in path:
            self._commit(path, body)
        else:
            self._answer({"error": f"unknown {path}"}, 404)

    def do_PUT(self) -> None:
        path = self._begin()
        if path is not None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert hashlib.sha256(body).hexdigest() == path.removeprefix("/objects/")
            self.hub.objects[path.removeprefix("/objects/")] = body
            self._answer({})

    def _begin(self) -> str | None:
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.breaks and self.hub.breaks in path:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer({"error": "out of order"}, 400)
            return None
        return path

    def _create(self, asked: dict) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            self._answer({"error": "exists"}, 409)
            return
        private = bool(asked.get("private") or asked.get("visibility") == "private")
        files = {".gitattributes": b"*.safetensors filter=lfs\n"}
        self.hub.repositories[name] = Repository(private, files)
        self._answer({"url": f"{self.hub.url}/{name}"})

    def _describe(self, name: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        siblings = []
        for path, content in repository.files.items():
            entry = {"rfilename": path, "size": len(content), "blobId": blob_id(content)}
            if path in repository.large:
                sha = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": sha, "size": len(content), "pointerSize": 1}
            siblings.append(entry)
        described = {"_id": "0", "id": name, "sha": repository.sha, "private": repository.private}
        self._answer(described | {"siblings": siblings, "tags": [], "downloads": 0})

    def _list(self, name: str) -> None:
        repository = self.hub.repositories[name]
        entries = []
        for path, content in repository.files.items():
            entry = {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
            if path in repository.large:
                sha = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 1}
            entries.append(entry)
        self._answer(entries)

    def _preupload(self, path: str, asked: dict) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in asked["files"]
        ]
        self._answer({"files": files})

    def _batch(self, asked: dict) -> None:
        objects = [
            {
                **wanted,
                "actions": {"upload": {"href": f"{self.hub.url}/objects/{wanted['oid']}"}},
            }
            for wanted in asked["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, path: str, body: bytes) -> None:
        name = "/".join(path.removeprefix("/api/models/").split("/")[:2])
        repository = self.hub.repositories[name]
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                assert value.get("parentCommit", repository.sha) == repository.sha
                repository.commits.append(value["summary"])
            elif operation["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
                repository.large.discard(value["path"])
            elif operation["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.objects[value["oid"]]
                repository.large.add(value["path"])
            else:
                del repository.files[value["path"]]
        url = f"{self.hub.url}/{name}/commit/{repository.sha}"
        self._answer({"commitUrl": url, "commitOid": repository.sha})

    def _resolve(self, path: str) -> None:
        name, _, rest = path.lstrip("/").partition("/resolve/")
        repository = self.hub.repositories.get(name)
        file = rest.partition("/")[2]
        if repository is None or file not in repository.files:
            self._answer({"error": "no such file"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        content = repository.files[file]
        sha = hashlib.sha256(content).hexdigest()
        etag = sha if file in repository.large else blob_id(content)
        self._send(content, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": repository.sha})

    def _answer(self, content: object, status: int = 200, headers: dict | None = None) -> None:
        kind = {"Content-Type": "application/json"}
        self._send(json.dumps(content).encode(), status, kind | (headers or {}))

    def _send(self, content: bytes, status: int, headers: dict) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serving() -> Iterator[Hub]:
    """The hub, reachable at its ``url``."""
    hub = Hub()
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
