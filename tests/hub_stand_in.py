"""A small server that answers as the Hugging Face Hub does, for what uploads and downloads of models ask."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_secret"


def hash_of(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@dataclass
class Repository:
    """Files by name of every commit, newest last, and the commit of every branch."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})

    def commit_of(self, revision: str) -> str | None:
        found = self.branches.get(revision, revision)
        return found if found in self.commits else None

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.branches["main"]]


@dataclass
class HubStandIn:
    """What the server has, and what it was asked."""

    address: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    """All bytes that clients sent."""
    lies: dict[str, int] = field(default_factory=dict)
    """Sizes of files that are claimed instead of the true ones."""
    failing: int | None = None
    """Status of all answers, if everything fails."""

    def add(self, name: str, files: dict[str, bytes], **settings: Any) -> Repository:
        found = self.repositories.setdefault(name, Repository(**settings))
        commit = hash_of(repr((name, sorted(files.items()), len(found.commits))).encode())
        found.commits[commit] = files
        found.branches["main"] = commit
        return found


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    state: HubStandIn
    claimed_size: int | None = None

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.answer("GET")

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def send(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(self.claimed_size or len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, value: Any, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), Content_Type="application/json")

    def complain(self, status: int, code: str, message: str) -> None:
        self.send(status, json.dumps({"error": message}).encode(), X_Error_Code=code, X_Error_Message=message)

    def answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.state.received += body
        path = self.path.partition("?")[0]
        self.claimed_size = None
        self.state.requests.append(f"{method} {path}")
        if self.state.failing:
            self.complain(self.state.failing, "ServerError", "out of order")
            return
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if path == "/api/repos/create":
            self.create(json.loads(body), allowed)
            return
        if path == "/api/validate-yaml":
            yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            self.json({"errors": [], "warnings": []})
            return
        if path.startswith("/large/"):
            self.state.large[path.rpartition("/")[2]] = body
            self.send(200)
            return
        found = re.fullmatch(
            r"(?:/api/models)?/(?P<name>[^/]+/[^/]+?)(?:\.git)?"
            r"(?:/(?P<what>revision|tree|preupload|commit|branch|resolve|info)(?:/(?P<revision>[^/]+)(?:/(?P<rest>.*))?)?)?",
            path,
        )
        repository = self.state.repositories.get(found["name"]) if found else None
        if found is None or repository is None or (repository.private and not allowed):
            self.complain(404 if allowed else 401, "RepoNotFound", "Repository not found")
        elif repository.gated and not allowed:
            self.complain(403, "GatedRepo", "Access is restricted")
        elif method in ("POST", "PUT") and not allowed:
            self.complain(403, "Forbidden", "You have no right to write here")
        else:
            self.serve(repository, found["name"], found["what"], found["revision"] or "main", found["rest"] or "", body)

    def create(self, wanted: dict[str, Any], allowed: bool) -> None:
        if not allowed:
            self.complain(401, "Unauthorized", "Invalid username or password.")
            return
        name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
        known = name in self.state.repositories
        self.state.repositories.setdefault(name, Repository(private=wanted.get("visibility") == "private"))
        self.json({"url": f"{self.state.address}/{name}", "id": name}, 409 if known else 200)

    def serve(self, repository: Repository, name: str, what: str | None, revision: str, rest: str, body: bytes) -> None:
        if what == "branch":
            repository.branches.setdefault(revision, repository.branches["main"])
            self.json({})
            return
        if what == "info":
            objects = [
                {"oid": each["oid"], "size": each["size"],
                 "actions": {"upload": {"href": f"{self.state.address}/large/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]  # fmt: skip
            self.json({"objects": objects, "transfer": "basic"})
            return
        commit = repository.commit_of(revision)
        if commit is None:
            self.complain(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = repository.commits[commit]
        if what in (None, "revision"):
            self.json({"id": name, "sha": commit, "private": repository.private, "siblings": [{"rfilename": f} for f in files]})
        elif what == "tree":
            self.json([
                {"type": "file", "path": path, "size": self.state.lies.get(path, len(text)), "oid": hash_of(text)}
                for path, text in files.items()
            ])  # fmt: skip
        elif what == "preupload":
            modes = [
                {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                 "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]  # fmt: skip
            self.json({"files": modes})
        elif what == "commit":
            self.commit(repository, name, revision, body)
        elif rest not in files:
            self.complain(404, "EntryNotFound", f"{rest} does not exist")
        else:
            self.claimed_size = self.state.lies.get(rest) if self.command == "HEAD" else None
            etag = f'"{hash_of(files[rest])}"'
            self.send(200, files[rest], ETag=etag, X_Repo_Commit=commit, Accept_Ranges="bytes")

    def commit(self, repository: Repository, name: str, branch: str, body: bytes) -> None:
        files = dict(repository.commits[repository.branches[branch]])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        commit = hash_of(body)
        repository.commits[commit] = files
        repository.branches[branch] = commit
        self.json({"commitUrl": f"{self.state.address}/{name}/commit/{commit}", "commitOid": commit})


@contextmanager
def hub_stand_in() -> Iterator[HubStandIn]:
    """A running server, on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = HubStandIn(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("BoundHandler", (Handler,), {"state": state})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
