"""`auto-annotator people`: a folder of photos in, people out, and the second run that adds to them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import PIL.Image
import pytest
from command_people import photo

from auto_annotator.config import load_settings
from auto_annotator.exchange.clusters_file import read_clusters
from auto_annotator.samples import sample_pictures

ALWAYS = ("faces.jsonl", "descriptors.npz", "clusters.json", "people.html")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run(cli, clustering, album, people_ensemble, out):
    """Function: options -> result of a run over the album."""
    return lambda *options: cli("people", album, "--recursive", "--ensemble", people_ensemble(), "--output", out, *options)


def tree(folder):
    return {p.relative_to(folder).parent.as_posix(): 0 for p in sorted(folder.rglob("*")) if p.is_file()} and {
        parent.name: sorted(p.name for p in parent.iterdir()) for parent in sorted(folder.iterdir()) if parent.is_dir()
    }


def test_a_folder_per_person(run, out):
    result = run()
    assert result.code == 0, result.err
    assert result.out.splitlines() == [str(out / name) for name in (*ALWAYS, "people")]
    folders = tree(out / "people")
    assert {name: len(files) for name, files in folders.items()} == {"p0001": 3, "p0002": 2, "seen once": 1}
    assert all(name.endswith(".jpg") for files in folders.values() for name in files)
    sizes = {PIL.Image.open(p).size for p in (out / "people").rglob("*.jpg")}
    assert all(w == h for w, h in sizes)
    assert result.err.splitlines()[0] == "5 pictures, 7 faces, 0 of them to review"
    assert result.err.splitlines()[1].startswith("6 of 7 faces described")
    assert f"next: look at {out / 'people.html'}" in result.err


@pytest.mark.parametrize("form", ["--copy", "--link"])
def test_photos_instead_of_faces(run, out, album, form):
    assert run(form).code == 0
    folders = tree(out / "people")
    assert {name: len(files) for name, files in folders.items()} == {"p0001": 3, "p0002": 2, "seen once": 1}
    for path in (out / "people").rglob("*.png"):
        assert path.is_symlink() == (form == "--link")
        assert path.read_bytes() in {p.read_bytes() for p in album.rglob("*.png")}


def test_xml_has_person_name_key_and_quality(run, out, tmp_path):
    run()
    key = next(f.key for f in read_clusters(out / "clusters.json").faces if f.person == "p0002")
    (tmp_path / "n.tsv").write_text(f"{key}\tBo & Co\n")
    result = run("--format", "xml", "--names", tmp_path / "n.tsv")
    assert result.code == 0 and result.out.splitlines()[-1] == str(out / "annotations.xml")
    boxes = ET.parse(out / "annotations.xml").findall("image/box")
    values = [{a.get("name"): a.text or "" for a in box.findall("attribute")} for box in boxes]
    assert sorted(v["person"] for v in values) == ["", "p0001", "p0001", "p0001", "p0002", "p0002", "p0003"]
    assert {v["name"] for v in values if v["person"] == "p0002"} == {"Bo & Co"}
    known = {f.key: f for f in read_clusters(out / "clusters.json").faces}
    assert all(known[v["face_key"]].person == v["person"] for v in values)
    doubtful = [v for v in values if "doubtful_person" in v["reasons"]]
    assert len(doubtful) == 1 and doubtful[0]["review"] == "true"
    assert all(0 < int(v["quality"]) <= 100 for v in values if v["person"])


def test_a_second_run_adds_and_keeps_ids(run, out, album):
    run()
    before = {f.key: f.person for f in read_clusters(out / "clusters.json").faces}
    files = {p: p.stat().st_mtime_ns for p in (out / "people").rglob("*.jpg")}
    photo(album / "new.png", [3, 1])
    (album / "z.png").unlink()
    result = run()
    assert result.code == 0 and "pictures were done before" in result.err and "faces were done before" in result.err
    after = {f.key: f.person for f in read_clusters(out / "clusters.json").faces}
    assert {k: p for k, p in after.items() if k in before} == {k: p for k, p in before.items() if k in after}
    assert sorted(p for k, p in after.items() if k not in before) == ["p0002", "p0004"]
    assert {n: len(f) for n, f in tree(out / "people").items()} == {"p0001": 2, "p0002": 3, "seen once": 2}
    assert all(p.stat().st_mtime_ns == t for p, t in files.items() if p.exists()), "what is right is not written again"


def test_overwrite_looks_anew_and_keeps_ids_and_fresh_forgets(run, out, tmp_path):
    run()
    key = read_clusters(out / "clusters.json").faces[0].key
    (tmp_path / "n.tsv").write_text(f"{key}\tAl\n")
    run("--names", tmp_path / "n.tsv")
    assert run("--overwrite").code == 0
    assert read_clusters(out / "clusters.json").names == {"p0001": "Al"}
    assert "p0001 Al" in tree(out / "people")
    assert run("--fresh").code == 0
    assert read_clusters(out / "clusters.json").names == {} and "p0001 Al" not in tree(out / "people")


def test_other_settings_are_not_mixed(run, cli, album, out, people_ensemble):
    run()
    result = cli("people", album, "--recursive", "--ensemble", people_ensemble("FailsOnBlack"), "--output", out)
    assert result.code == 2 and "made with other settings" in result.err and "--overwrite" in result.err


def test_missing_photos_and_broken_ones(run, album, out):
    (album / "broken.jpg").write_bytes(b"nothing")
    result = run("--format", "xml")
    assert result.code == 0 and "1 pictures failed" in result.err
    assert "broken.jpg" not in (out / "annotations.xml").read_text()


def test_photos_without_any_face(cli, clustering, tmp_path, people_ensemble, out):
    photo(tmp_path / "p" / "a.png", [])
    result = cli("people", tmp_path / "p", "--ensemble", people_ensemble(), "--output", out)
    assert result.code == 0 and "0 faces" in result.err and (out / "people.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "xml", "--copy"], "--copy and --link are for folders"),
        (["--copy", "--link"], "not allowed with argument"),
        (["--must", "absent.tsv"], "absent.tsv: cannot be read"),
    ],
)
def test_bad_options(run, options, message):
    result = run(*options)
    assert result.code == 2 and message in result.err.splitlines()[-1]


def test_results_among_the_photos_are_refused(cli, clustering, album, people_ensemble):
    for out in (album, album / "a"):
        result = cli("people", album, "--recursive", "--ensemble", people_ensemble(), "--output", out)
        assert result.code == 2 and "the results would lie among the photos" in result.one_line


def test_no_name_of_a_person_reaches_the_terminal(run, tmp_path, out):
    run()
    key = read_clusters(out / "clusters.json").faces[0].key
    (tmp_path / "n.tsv").write_text(f"{key}\tSecretName\n")
    result = run("--names", tmp_path / "n.tsv")
    assert "SecretName" not in result.err + result.out


@pytest.mark.weights
@pytest.mark.slow
def test_the_samples_with_the_embedded_ensemble(cli, tmp_path):
    """Real pictures, real weights: each face of the samples is somebody, and a picture that comes twice is the same people."""
    samples = tmp_path / "samples"
    samples.mkdir()
    for path in sample_pictures(load_settings().models / "samples", progress=False):
        with PIL.Image.open(path) as image:
            image.convert("RGB").save(samples / f"{path.stem}.png")
            if path.stem == "astronaut":
                image.convert("RGB").resize((384, 384)).save(samples / "again.png")
    out = tmp_path / "out"
    result = cli("people", samples, "--pull", "--output", out, "--device", "cpu")
    assert result.code == 0, result.err
    content = read_clusters(out / "clusters.json")
    assert len(content.faces) >= 4 and not any(face.failure for face in content.faces)
    same = {face.person for face in content.faces if face.image in ("astronaut.png", "again.png")}
    assert len(same) == 1 and same != {""}
    assert (out / "people" / next(iter(same))).is_dir()
    assert cli("people", samples, "--output", out, "--device", "cpu").code == 0
    again = read_clusters(out / "clusters.json")
    assert [face.person for face in again.faces] == [face.person for face in content.faces]
