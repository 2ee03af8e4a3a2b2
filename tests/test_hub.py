"""Runs as model cards, pushed to and pulled from a local stand-in of the hub's API."""

import base64
import json
import os
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import yaml

import caudal as library
from caudal.model import hub as hub_files
from caudal.model.card import CARD, metadata_of, portable
from command_line import FIXTURES, QUICK, caudal, refused

hub = pytest.importorskip("huggingface_hub", reason="needs caudal[hub]")
TOKEN, NAME = "hf_of_a_test", "someone/moons"


class Hub(BaseHTTPRequestHandler):
    """What the hub's package asks when it makes, fills, lists and reads a repository of models."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, body=b"", status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, content, status=200, **headers):
        self.answer(
            json.dumps(content).encode(), status, Content_Type="application/json", **headers
        )

    def missing(self, code="RepoNotFound"):
        self.json({"error": "not found"}, 404, X_Error_Code=code)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        repos = self.server.repos
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.json({"error": "who are you?"}, 401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.private[name] = (
                asked.get("private") or asked.get("visibility") == "private"
            )
            exists = name in repos
            repos.setdefault(name, {})
            url = f"http://{self.headers['Host']}/{name}"
            return self.json({"url": url, "error": "exists"}, 409 if exists else 200)
        if self.path == "/api/validate-yaml":
            card = json.loads(body)["content"]
            fine = "library_name" in metadata_of(card)
            return self.json({"errors": [] if fine else [{"message": "?"}], "warnings": []})
        if "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            keep = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
            return self.json({"files": keep})
        if match := re.match(r"/api/models/(\S+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    repos[match[1]][line["value"]["path"]] = content
            url = f"http://{self.headers['Host']}/{match[1]}/commit/1"
            return self.json({"commitUrl": url, "commitOid": "1" * 40, "success": True})
        return self.missing()

    def do_GET(self):
        repos = self.server.repos
        if match := re.match(r"/api/models/([^/]+/[^/?]+)(/[^?]*)?", self.path):
            name, rest = match[1], match[2] or ""
            if name not in repos:
                return self.missing()
            if rest not in ("", "/revision/main", f"/revision/{'1' * 40}") and "tree" not in rest:
                return self.missing("RevisionNotFound")
            files = repos[name]
            if "tree" in rest:
                tree = [
                    {"type": "file", "path": p, "size": len(b), "oid": "0" * 40}
                    for p, b in files.items()
                ]
                return self.json(tree)
            siblings = [{"rfilename": path} for path in files]
            return self.json({"id": name, "sha": "1" * 40, "siblings": siblings, "private": False})
        if match := re.match(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", self.path):
            content = repos.get(match[1], {}).get(match[2])
            if content is None:
                return self.missing("EntryNotFound")
            etag = f'"{hash(content):x}"'
            return self.answer(content, X_Repo_Commit="1" * 40, ETag=etag)
        return self.missing()

    do_HEAD = do_GET  # noqa: N815 - the name that the server asks for


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.repos, server.private = {}, {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _there(server, monkeypatch):
    server.repos.clear()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a table that lies in a folder of its own, and is named by its whole path."""
    folder = tmp_path_factory.mktemp("secret-place")
    shutil.copy(FIXTURES / "people.csv", folder / "people.csv")
    words = ["nsf", "--data", folder / "people.csv", *QUICK]
    assert caudal("train", *words, "--out", folder / "run") == 0
    (folder / "run" / "notes.txt").write_text("my password")
    return folder / "run"


def test_a_run_has_a_card(run):
    text = (run / CARD).read_text("utf-8")
    metadata = metadata_of(text)
    assert metadata["library_name"] == "caudal"
    assert {"normalizing-flows", "table", "nsf"} <= set(metadata["tags"])
    assert "license" not in metadata
    (result,) = metadata["model-index"][0]["results"]
    scores = json.loads((run / "eval.json").read_text())
    assert result["metrics"][0]["value"] == scores["log_prob"]
    assert result["metrics"][1]["value"] == scores["gaussian_log_prob"]
    assert "people.csv" in text
    assert "secret-place" not in text


def test_a_card_keeps_what_its_reader_adds(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    card = folder / CARD
    card.write_text(card.read_text().replace("---\n", "---\nlicense: mit\n", 1) + "\nMine.\n")
    library.load(folder).evaluate()
    text = card.read_text()
    assert metadata_of(text)["license"] == "mit"
    assert text.endswith("-->\n\nMine.\n")
    assert text.count("## Scores") == 1


def test_what_is_pushed_is_pulled_and_scores_alike(run, tmp_path, server, capsys):
    assert caudal("push", run, NAME, "--private", "--json") == 0
    assert json.loads(capsys.readouterr().out)["url"].endswith(NAME)
    assert server.private[NAME] is True
    pushed = server.repos[NAME]
    assert set(pushed) == {
        *("README.md", "model.safetensors", "config.yaml", "columns.yaml"),
        *("metrics.jsonl", "eval.json", "gaussian.safetensors", "alarm.json"),
    }
    for name, content in pushed.items():
        assert b"secret-place" not in content, name
        assert b"my password" not in content
    assert f"caudal pull {NAME}" in pushed["README.md"].decode()

    pushed["pytorch_model.bin"] = pushed["pictures/evil.py"] = b"code"
    assert caudal("pull", NAME, "--out", tmp_path / "here") == 0
    there = {path.name for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert there == set(pushed) - {"pytorch_model.bin", "pictures/evil.py"}
    rows = library.load(run).sample(5, seed=0)
    again = library.load(tmp_path / "here").log_prob(rows)
    assert list(again) == list(library.load(run).log_prob(rows))


def test_nothing_is_replaced_without_a_word(run, tmp_path, server, capsys):
    model = library.load(run)
    model.push(NAME)
    server.repos[NAME]["eval.json"] = b"{}"
    line = refused(capsys, "push", run, NAME)
    assert "holds a run already" in line
    assert "--overwrite" in line
    assert server.repos[NAME]["eval.json"] == b"{}"
    model.push(NAME, overwrite=True)
    assert server.repos[NAME]["eval.json"] != b"{}"

    library.pull(NAME, tmp_path / "here")
    assert "holds a run" in refused(capsys, "pull", NAME, "--out", tmp_path / "here")
    assert library.pull(NAME, tmp_path / "here", overwrite=True).folder == tmp_path / "here"
    server.repos[NAME]["model.safetensors"] = b"damaged"
    refused(capsys, "pull", NAME, "--out", tmp_path / "here", "--overwrite")
    library.load(tmp_path / "here")  # the run of before
    assert not list(tmp_path.glob(".*"))


def test_the_report_is_pushed_where_that_is_asked_for(run, tmp_path, server):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "curve.png").write_bytes(b"png")
    words = f"<pre>caudal train nsf --data {run.parent}/people.csv --out {run}</pre>"
    (folder / "report.html").write_text(f"nsf on {run.parent}/people.csv {words}")
    library.load(folder).push(NAME, report=True)
    assert {"report.html", "pictures/curve.png"} <= set(server.repos[NAME])
    page = server.repos[NAME]["report.html"].decode()
    short = words.replace(f"{run.parent}/", "")
    assert page == f"nsf on people.csv {short}"


def test_a_run_of_plain_tensors_is_pushed_and_pulled(tmp_path, capsys, server):
    flow = library.recipes.Glow(scales=1).build((1, 2, 2))
    x, training = torch.randn(50, 1, 2, 2), library.Training(steps=1)
    library.fit(flow, x, training=training, out=tmp_path / "run")
    assert caudal("push", tmp_path / "run", NAME) == 0
    assert caudal("pull", NAME, "--out", tmp_path / "here") == 0
    assert "glow of plain tensors" in capsys.readouterr().out


def test_refusals_are_one_line(run, tmp_path, server, capsys, monkeypatch):
    out = tmp_path / "out"
    assert "has no someone/nothing" in refused(capsys, "pull", "someone/nothing", "--out", out)
    assert "OWNER/NAME" in refused(capsys, "pull", "no name/at/all", "--out", out)
    server.repos[NAME] = {"README.md": b"no run"}
    assert "no run of caudal" in refused(capsys, "pull", NAME, "--out", out)
    refused_revision = refused(capsys, "pull", NAME, "--out", out, "--revision", "v9")
    assert "no revision 'v9'" in refused_revision
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "token" in refused(capsys, "push", run, "someone/else")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(hub, "get_token", lambda: None)
    assert "hf auth login" in refused(capsys, "push", run, NAME)
    alone = shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
    assert "run folder" in refused(capsys, "push", alone, NAME)
    assert not out.exists()


def test_no_network_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert caudal("pull", NAME, "--out", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "cannot be reached" in line


def test_configs_lose_folders_and_passwords():
    config = {
        "data": "/home/me/people.csv",
        "valid": "s3://key:secret@bucket/valid.parquet?token=1",
        "split": [0.8, "/home/me/x"],
        "lr": 1e-3,
    }
    assert yaml.safe_dump(portable(config)) == yaml.safe_dump(
        {
            "data": "people.csv",
            "valid": "s3://bucket/valid.parquet",
            "split": [0.8, "x"],
            "lr": 1e-3,
        }
    )


def test_a_report_loses_folders_and_nothing_else(tmp_path):
    page = tmp_path / "report.html"
    page.write_text(
        '<a>/a, /a/b, /d/e</a> <img src="data:image/png;base64,+/a+" alt="/a"> /about x/a'
    )
    assert hub_files._page_without_folders(page, {"data": "/a", "valid": ["/a/b", "/d/"]}) == (
        '<a>a, b, de</a> <img src="data:image/png;base64,+/a+" alt="a"> /about x/a'
    )


def test_a_pulled_run_takes_its_place_whole_or_its_model_comes_last(run, tmp_path, monkeypatch):
    moves = []
    whole = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: moves.append(b.name) or whole(a, b))
    for folder in (tmp_path / "new", tmp_path / "old"):
        shutil.copytree(run, tmp_path / ".1.pulled")
        hub_files.take_place(tmp_path / ".1.pulled", folder)
        assert (folder / "model.safetensors").exists()
        (tmp_path / "old").mkdir(exist_ok=True)
    assert moves[0] == "new"
    assert moves[-1] == "model.safetensors"


DAMAGED = [
    ("eval.json", b"[1", "remove it, and `caudal eval`"),
    ("README.md", b"\xff", "remove it, and `caudal eval`"),
    ("compare.json", b"[1", "pull or train it anew"),
]


@pytest.mark.parametrize(("name", "content", "way"), DAMAGED)
def test_a_damaged_file_is_not_pushed(run, tmp_path, name, content, way):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / name).write_bytes(content)
    with pytest.raises(library.InputError, match=f"{name}: damaged .*: {way}"):
        hub_files.contents(library.load(folder))


@pytest.mark.parametrize("text", ["!!bool x", "!!int ''", "!!timestamp foo", "!!float []", "? {}"])
def test_a_card_that_cannot_be_read_has_no_metadata(text):
    assert metadata_of(f"---\nlicense: {text}\n---\n") == {}
