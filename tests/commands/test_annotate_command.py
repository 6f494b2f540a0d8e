"""`auto-annotator annotate`: the four files, what they hold, and how the job goes on after an interruption."""

from __future__ import annotations

import json
import re
import signal
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from auto_annotator.commands import annotate
from auto_annotator.errors import WeightsError

FILES = ("faces.jsonl", "annotations.xml", "coco.json", "index.html")
PEOPLE_FILES = ("descriptors.npz", "clusters.json", "people.html")


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def command(photos, ensemble, out) -> list[object]:
    return ["annotate", photos, "--ensemble", ensemble(), "--out", out]


def xml_images(out: Path) -> list[str]:
    return [image.get("name") for image in ET.parse(out / "annotations.xml").iter("image")]


def external_references(page: str) -> list[str]:
    """What a browser would load from elsewhere; pictures inside the page are data URLs, places in it start with #."""
    attributes = re.findall(r"""(?:src|href|action|poster|srcset|data)\s*=\s*["']?([^"'\s>]+)""", page)
    return [a for a in [*attributes, *re.findall(r"url\(([^)]*)\)", page), *re.findall(r"@import[^;]*", page)]
            if not a.strip("\"' ").startswith(("data:", "#"))]  # fmt: skip


def test_four_files_are_left_and_named_on_stdout(cli, command, out):
    result = cli(*command)
    assert result.code == 0
    assert result.out.splitlines() == [str(out / name) for name in FILES]
    assert result.err.splitlines() == ["6 pictures, 6 faces, 0 of them to review", "no people: ensemble fakes has no descriptors"]
    assert sorted(p.name for p in out.iterdir()) == sorted([*FILES, "faces.jsonl.run.json"])
    assert xml_images(out) == [f"{i}.png" for i in range(6)]
    assert len(ET.parse(out / "annotations.xml").findall("image/box")) == 6
    coco = json.loads((out / "coco.json").read_text())
    assert (len(coco["images"]), len(coco["annotations"])) == (6, 6)
    page = (out / "index.html").read_text()
    assert "ensemble fakes" in page
    assert page.count("data:image/jpeg;base64,") >= 5
    assert external_references(page) == []


def test_a_broken_picture_stays_out_of_what_cvat_would_refuse(cli, command, photos, out):
    (photos / "2b.jpg").write_bytes(b"")
    result = cli(*command)
    assert result.code == 0 and "1 pictures failed" in result.err
    assert xml_images(out) == [f"{i}.png" for i in range(6)]
    assert [image["file_name"] for image in json.loads((out / "coco.json").read_text())["images"]] == [f"{i}.png" for i in range(6)]
    assert "2b.jpg" in (out / "index.html").read_text() and '"2b.jpg"' in (out / "faces.jsonl").read_text()


def test_results_that_are_there_are_not_touched_without_a_word(cli, command, out):
    assert cli(*command).code == 0
    before = {p: p.read_bytes() for p in out.iterdir()}
    result = cli(*command)
    assert result.code == 2
    assert "add --resume to go on with it, or --overwrite to start anew" in result.one_line
    assert {p: p.read_bytes() for p in out.iterdir()} == before
    assert cli(*command, "--overwrite").code == 0


def test_resume_of_a_finished_run_writes_the_exports_again(cli, command, out):
    assert cli(*command).code == 0
    before = {p: p.read_bytes() for p in out.iterdir()}
    for name in FILES[1:]:
        (out / name).unlink()
    result = cli(*command, "--resume")
    assert result.code == 0 and "6 pictures were done before" in result.err
    assert {p: p.read_bytes() for p in out.iterdir()} == before


def test_exports_are_in_the_order_of_the_pictures_whenever_they_were_done(cli, command, photos, save, out):
    assert cli(*command).code == 0
    save(photos / "0a.png")
    (photos / "5.png").unlink()
    assert cli(*command, "--resume").code == 0
    assert xml_images(out) == ["0.png", "0a.png", "1.png", "2.png", "3.png", "4.png"]


def test_ctrl_c_leaves_no_export_of_another_run_and_says_how_to_go_on(cli, spawn, command, ensemble, out):
    assert cli(*command).code == 0
    whole = (out / "faces.jsonl").read_bytes()
    gated = ["--ensemble", ensemble("Gated"), "--rotations", "off"]  # the gate counts looks
    process = spawn(*command, *gated, "--overwrite")
    while process.stderr.readline() != b"picture came\n":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, b"")
    assert b"interrupted: 0 of 6 pictures are in" in stderr and b"Traceback" not in stderr
    assert sorted(p.name for p in out.iterdir()) == ["faces.jsonl", "faces.jsonl.run.json"]
    stdout, _ = spawn(*command, *gated, "--resume").communicate(b"go\n" * 6, timeout=60)
    assert stdout.decode().splitlines() == [str(out / name) for name in FILES]
    assert (out / "faces.jsonl").read_bytes() == whole
    assert all((out / name).stat().st_size for name in FILES)


def test_ctrl_c_while_exports_are_written_says_how_to_write_them(cli, command, out, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(annotate, "write_page", interrupt)
        result = cli(*command)
    assert result.code == 130
    assert f"all pictures are in {out / 'faces.jsonl'}" in result.err and "--resume" in result.err
    assert cli(*command, "--resume").code == 0
    assert (out / "index.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "OUT"], "give pictures or folders, or --samples, not both"),
        (["PHOTOS", "--samples", "--out", "OUT"], "give pictures or folders, or --samples, not both"),
        (["PHOTOS"], "required: --out"),
        (["PHOTOS", "--out", "PHOTOS/0.png"], "PHOTOS/0.png: cannot be made a folder for results"),
        (["PHOTOS", "--out", "PHOTOS/0.png/out"], "PHOTOS/0.png/out: cannot be made a folder for results"),
        (["absent", "--out", "OUT"], "absent: no such file or folder"),
    ],
)
def test_bad_arguments_exit_2_and_make_nothing(cli, photos, ensemble, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    photos.rename("PHOTOS")
    result = cli("annotate", *arguments, "--ensemble", ensemble())
    assert result.code == 2
    assert message in result.err.splitlines()[-1]
    assert result.out == "" and not Path("OUT").exists()


def test_a_run_without_any_picture_that_can_be_used_exits_1(cli, command, photos, out):
    for path in photos.iterdir():
        path.write_bytes(b"")
    result = cli(*command)
    assert result.code == 1 and "6 pictures failed" in result.err
    assert all((out / name).exists() for name in FILES)


@pytest.fixture
def with_people(clustering, album, people_ensemble, out) -> list[object]:
    return ["annotate", album, "--recursive", "--ensemble", people_ensemble(), "--out", out]


def test_it_ends_with_people(cli, with_people, out):
    result = cli(*with_people)
    assert result.code == 0, result.err
    assert result.out.splitlines() == [str(out / name) for name in (*FILES, *PEOPLE_FILES)]
    assert result.err.splitlines() == [
        "5 pictures, 7 faces, 0 of them to review",
        "6 of 7 faces described, without descriptor: 1 no_descriptor",
        "7 faces: 2 people with several faces, 1 seen once, 0 unknown, 1 without descriptor;"
        " 1 pair of people may be one, 1 face to check",
    ]
    assert sorted(p.name for p in out.iterdir()) == sorted([*FILES, *PEOPLE_FILES, "faces.jsonl.run.json"])
    values = [a.text or "" for a in ET.parse(out / "annotations.xml").iter("attribute") if a.get("name") == "person"]
    assert sorted(v for v in values if v.startswith("p0")) == ["p0001", "p0001", "p0001", "p0002", "p0002", "p0003"]
    assert 'href="people.html"' in (out / "index.html").read_text()
    assert 'href="index.html"' in (out / "people.html").read_text()
    assert external_references((out / "people.html").read_text()) == ["index.html"]


def test_people_too_go_on_and_start_anew(cli, with_people, album, out):
    cli(*with_people)
    before = {p: p.read_bytes() for p in out.iterdir()}
    result = cli(*with_people, "--resume")
    assert result.code == 0 and "7 faces were done before" in result.err
    assert {p.name for p in out.iterdir() if p.read_bytes() != before[p]} == {"clusters.json"}, "which counts runs"
    assert cli(*with_people, "--overwrite").code == 0
    assert {p.name for p in out.iterdir() if p.read_bytes() != before[p]} == set()


def test_descriptor_weights_that_are_missing_cost_the_people_only(cli, with_people, out, monkeypatch):
    import auto_annotator.pipeline

    def missing(settings):
        raise WeightsError("weights sface: not there: run auto-annotator models pull")

    monkeypatch.setattr(auto_annotator.pipeline, "build_description", missing)
    result = cli(*with_people)
    assert result.code == 0 and result.out.splitlines() == [str(out / name) for name in FILES]
    assert "no people: weights sface: not there: run auto-annotator models pull" in result.err
    assert "people.html" not in (out / "index.html").read_text()


def test_ctrl_c_while_faces_are_described_says_how_to_go_on(cli, with_people, out, monkeypatch):
    from auto_annotator.commands import describing

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(describing, "decoded", interrupt)
        result = cli(*with_people)
    assert result.code == 130 and "--resume (without --overwrite) goes on" in result.err
    assert cli(*with_people, "--resume").code == 0
    assert (out / "people.html").exists()


@pytest.mark.weights
@pytest.mark.slow
def test_the_samples_with_the_embedded_ensemble(cli, tmp_path):
    """The first thing that a new user runs."""
    out = tmp_path / "out"
    result = cli("annotate", "--samples", "--pull", "--out", out, "--device", "cpu")
    assert result.code == 0
    assert result.out.splitlines() == [str(out / name) for name in (*FILES, *PEOPLE_FILES)]
    records = {(r := json.loads(line))["image"]: r for line in (out / "faces.jsonl").read_text().splitlines()}
    assert all("error" not in record and "problems" not in record for record in records.values())
    sure = [face for face in records["astronaut.png"]["faces"] if face["score"] > 0.5]
    assert len(sure) == 1
    assert sure[0]["box"] == pytest.approx([178, 62, 269, 176], abs=12)
    assert all(score is not None for score in sure[0]["votes"].values())
    tree = ET.parse(out / "annotations.xml")
    faces = sum(len(record["faces"]) for record in records.values())
    assert xml_images(out) == list(records)
    assert len(tree.findall("image/box")) == faces == len(json.loads((out / "coco.json").read_text())["annotations"])
    page = (out / "index.html").read_text()
    assert external_references(page) == ["people.html"] and "ensemble embedded" in page
    people = (out / "people.html").read_text()
    assert external_references(people) == ["index.html"] and people.count("data:image/jpeg;base64,") >= 10
