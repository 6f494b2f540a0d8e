"""`auto-annotator cluster`: files in, one file out, human words, ids over runs, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from described import described, units

from auto_annotator.exchange.clusters_file import read_clusters
from auto_annotator.exchange.descriptors_file import write_descriptors
from auto_annotator.exchange.keys import face_keys

PEOPLE = ((0, 1), (0,), (1, 2), (0, -1))


@pytest.fixture
def faces():
    return described(PEOPLE)


@pytest.fixture
def npz(tmp_path, faces):
    path = tmp_path / "d.npz"
    write_descriptors(path, faces)
    return path


@pytest.fixture
def output(tmp_path):
    return tmp_path / "clusters.json"


@pytest.fixture
def run(cli, clustering, npz, output):
    """Function: options -> result of a run over `npz`."""
    return lambda *options: cli("cluster", npz, "--output", output, *options)


def by_person(content):
    groups = {}
    for face in content.faces:
        groups.setdefault(face.person, []).append(face.image)
    return groups


def lines(path, *rows):
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_who_is_who(run, output, faces):
    result = run()
    assert result.code == 0 and result.out == f"{output}\n"
    content = read_clusters(output)
    assert by_person(content) == {
        "p0001": ["0.png", "1.png", "3.png"], "p0002": ["0.png", "2.png"], "p0003": ["2.png"], "": ["3.png"],
    }  # fmt: skip
    assert [(p.id, p.name, p.faces) for p in content.people] == [("p0001", "", 3), ("p0002", "", 2), ("p0003", "", 1)]
    assert content.faces[-1].state == "failed" and content.faces[-1].failure == "raised" and content.faces[-1].label == -1
    assert {f.state for f in content.faces[:-1]} == {"auto"}
    assert [(s.first, s.second, s.reason) for s in content.suggestions] == [("p0001", "p0002", "look_alike")]
    assert content.doubtful == (faces.keys[0],)
    assert content.faces[1].nearest.person == "p0001" and content.faces[1].notes == ("blurred",)
    assert (content.meta.model_hash, content.meta.threshold, content.meta.settings) == ("abc123", 0.5, {"method": "potts"})


def test_the_terminal_says_what_was_found_and_what_to_do(run):
    err = run().err.splitlines()
    assert err[0] == (
        "7 faces: 2 people with several faces, 1 seen once, 0 unknown, 1 without descriptor;"
        " 1 pair of people may be one, 1 face to check"
    )
    assert err[1] == "note: A sentence about the data." and err[2].startswith("next: look at")


def test_what_the_clustering_is_given(run, clustering, faces):
    run("--threshold", "0.42", "--method", "dbscan")
    call = clustering.calls[0]
    assert (call["threshold"], call["previous"], call["workspace"]) == (0.42, None, None)
    assert call["constraints"].images.tolist() == faces.images.tolist()


def test_ids_and_names_stay_when_faces_come(run, cli, clustering, output, tmp_path, faces):
    run("--names", lines(tmp_path / "names.tsv", (faces.keys[1], "Ännchen <b>")))
    more = tmp_path / "more.npz"
    write_descriptors(more, described(((3, 1), (3,)), folder="new/"))
    result = cli("cluster", more, tmp_path / "d.npz", "--output", output, "--previous", output)
    assert result.code == 0
    content = read_clusters(output)
    assert by_person(content)["p0002"] == ["new/0.png", "0.png", "2.png"]
    assert by_person(content)["p0004"] == ["new/0.png", "new/1.png"]
    assert content.names == {"p0002": "Ännchen <b>"}
    assert clustering.calls[-1]["previous"].tolist() == [-1, -1, -1, 0, 1, 0, 1, 2, 0, -1]


def test_an_output_that_is_there_is_the_previous_run(run, output, tmp_path, faces):
    run("--names", lines(tmp_path / "n.tsv", (faces.keys[0], "Bo")))
    run()
    assert read_clusters(output).names == {"p0001": "Bo"} and read_clusters(output).registry["run"] == 2
    run("--fresh")
    assert read_clusters(output).names == {} and read_clusters(output).registry["run"] == 1


def test_a_person_is_renamed_by_id(run, output, tmp_path):
    run()
    run("--names", lines(tmp_path / "n.tsv", ("p0003", "Cy"), ("p0001", "Al")))
    assert read_clusters(output).names == {"p0003": "Cy", "p0001": "Al"}
    run("--names", lines(tmp_path / "n.tsv", ("p0003", "Cyrus")))
    assert read_clusters(output).names == {"p0003": "Cyrus", "p0001": "Al"}


def test_two_names_in_one_cluster_are_reported_not_guessed(run, output, tmp_path, faces):
    names = lines(tmp_path / "n.tsv", (faces.keys[0], "Al"), (faces.keys[2], "Bo"))
    result = run("--names", names)
    content = read_clusters(output)
    assert content.names == {} and content.conflicts[0].kind == "two_names" and "Al, Bo" in content.conflicts[0].detail
    assert "contradiction: two names" in result.err and "Al" not in result.err


def test_human_words_are_kept_over_runs(run, output, tmp_path, faces):
    k = faces.keys
    run(
        "--must", lines(tmp_path / "m.tsv", ("# comment",), (), (k[4], k[0])),
        "--cannot", lines(tmp_path / "c.tsv", (k[0], k[2])),
        "--never", lines(tmp_path / "x.txt", (k[3],)),
    )  # fmt: skip
    first = read_clusters(output)
    states = [f.state for f in first.faces]
    assert states == ["confirmed", "auto", "auto", "rejected", "confirmed", "auto", "failed"]
    assert first.faces[0].person == first.faces[4].person != first.faces[2].person and first.faces[3].person == ""
    run()
    second = read_clusters(output)
    assert second.words == first.words and [f.person for f in second.faces] == [f.person for f in first.faces]


def test_a_new_word_counts_against_an_old_one(run, output, tmp_path, faces):
    a, b = faces.keys[4], faces.keys[0]
    run("--must", lines(tmp_path / "m.tsv", (a, b)), "--never", lines(tmp_path / "x.txt", (faces.keys[5],)))
    run("--cannot", lines(tmp_path / "c.tsv", (b, a)), "--must", lines(tmp_path / "m2.tsv", (faces.keys[5], b)))
    content = read_clusters(output)
    assert content.words.must == ((faces.keys[5], b),) and content.words.cannot == ((b, a),) and content.words.never == ()
    result = run("--cannot", lines(tmp_path / "c.tsv", (a, b)), "--must", lines(tmp_path / "m.tsv", (a, b)))
    assert result.code == 2 and "are in both" in result.one_line


def test_a_face_that_is_never_clustered_leaves_earlier_pairs(run, output, tmp_path, faces):
    a, b, c = faces.keys[0], faces.keys[1], faces.keys[5]
    run("--must", lines(tmp_path / "m.tsv", (a, c), (a, b)))
    run("--never", lines(tmp_path / "x.txt", (c,)))
    content = read_clusters(output)
    assert content.words.must == ((a, b),)
    assert content.words.never == (c,)
    assert content.conflicts == ()


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--must", "KEY\tunknown\n", "w.tsv line 1: got 'unknown', expected the key of a face"),
        ("--must", "# fine\n\nKEY\tKEY\n", "w.tsv line 3: names the same face twice"),
        ("--cannot", "KEY\n", "w.tsv line 1: got 1 columns, expected 2"),
        ("--cannot", "KEY KEY\n", "w.tsv line 1: got 1 columns, expected 2, separated by a tab"),
        ("--never", "nope\n", "w.tsv line 1: got 'nope'"),
        ("--names", "nope\tAl\n", "w.tsv line 1: got 'nope', expected the key of a face in the descriptors or the id of a person"),
        ("--names", "KEY\t\n", "w.tsv line 1: got a name of 0 characters"),
        ("--names", "KEY\tAl\nKEY\tBo\n", "w.tsv line 2: a second name for"),
        ("--names", "KEY\t" + "x" * 300 + "\n", "w.tsv line 1: got a name of 300 characters"),
        ("--must", "x" * 10_000 + "\tKEY\n", "w.tsv line 1: got 'xxxx"),
    ],
)
def test_a_wrong_line_is_named(run, output, tmp_path, faces, option, content, message):
    path = tmp_path / "w.tsv"
    path.write_text(content.replace("KEY", faces.keys[0]))
    result = run(option, path)
    assert result.code == 2 and message in result.one_line and len(result.one_line) < 300
    assert not output.exists()


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_words_file_that_cannot_be_read(run, tmp_path, content):
    path = tmp_path / "w.tsv"
    if content is not None:
        path.write_bytes(content)
    assert run("--must", path).code == 2


def test_spreadsheets_put_a_mark_in_front_and_other_line_ends(run, output, tmp_path, faces):
    path = tmp_path / "m.tsv"
    path.write_bytes("\ufeff".encode() + f"{faces.keys[4]}\t{faces.keys[0]}\r\n".encode())
    assert run("--must", path).code == 0 and len(read_clusters(output).words.must) == 1


def test_files_of_other_models_are_refused(cli, clustering, npz, output, tmp_path):
    write_descriptors(tmp_path / "e.npz", described(folder="e/", model_hash="other"))
    result = cli("cluster", npz, tmp_path / "e.npz", "--output", output)
    assert result.code == 2 and "e.npz: made by the models 'fakes' 'other', but" in result.one_line
    cli("cluster", npz, "--output", output)
    result = cli("cluster", tmp_path / "e.npz", "--output", output)
    assert result.code == 2 and "earlier clusters: made by the models 'fakes' 'abc123'" in result.one_line
    assert cli("cluster", tmp_path / "e.npz", "--output", output, "--fresh").code == 0


def test_a_face_in_two_files_counts_once(cli, clustering, npz, output, tmp_path, faces):
    write_descriptors(tmp_path / "e.npz", described((*PEOPLE, (2,))))
    assert cli("cluster", npz, tmp_path / "e.npz", "--output", output).code == 0
    content = read_clusters(output)
    assert len(content.faces) == len(faces) + 1 and ["2.png", "4.png"] in by_person(content).values()


def test_another_face_of_the_same_key_is_refused(cli, clustering, npz, output, tmp_path):
    write_descriptors(tmp_path / "e.npz", described(((5,),)))
    result = cli("cluster", npz, tmp_path / "e.npz", "--output", output)
    assert result.code == 2 and "has another face at the same place of a picture that is also called '0.png'" in result.one_line
    assert cli("cluster", npz, npz, "--output", output).code == 2


def test_ids_survive_a_new_detection_that_moves_the_boxes(run, npz, output, tmp_path, faces):
    run(
        "--names",
        lines(tmp_path / "n.tsv", (faces.keys[1], "Al")),
        "--must",
        lines(tmp_path / "m.tsv", (faces.keys[4], faces.keys[0])),
    )
    before = read_clusters(output)
    boxes = faces.boxes + np.float32(3.4)
    keys = tuple(face_keys(faces.image_of(i), boxes[i])[0] for i in range(len(faces)))
    assert not set(keys) & set(faces.keys)
    write_descriptors(npz, replace(faces, boxes=boxes, keys=keys))
    run()
    after = read_clusters(output)
    assert [f.person for f in after.faces] == [f.person for f in before.faces] and after.names == before.names
    assert after.words.must == ((keys[4], keys[0]),)


def test_no_face_at_all(cli, clustering, output, tmp_path):
    write_descriptors(tmp_path / "e.npz", described(()))
    result = cli("cluster", tmp_path / "e.npz", "--output", output)
    assert result.code == 0 and read_clusters(output).faces == ()


def test_many_faces_get_a_workspace_that_goes_when_the_run_is_done(cli, clustering, output, tmp_path, monkeypatch):
    from auto_annotator.commands import clustering as flow

    monkeypatch.setattr(flow, "WORKSPACE_FROM", 3)
    write_descriptors(tmp_path / "e.npz", described())
    work = tmp_path / ".clusters.json.work"

    def interrupted(self, *_, workspace, **__):
        workspace.mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(clustering, "__call__", interrupted)
        assert cli("cluster", tmp_path / "e.npz", "--output", output).code == 130
    assert work.is_dir() and not output.exists()
    assert cli("cluster", tmp_path / "e.npz", "--output", output).code == 0
    assert clustering.calls[0]["workspace"] == work and not work.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["absent.npz", "--output", "c.json"], "absent.npz: no such file"),
        (["NPZ", "--output", "c.txt"], "expected a name that ends in .json"),
        (["NPZ", "--output", "c.json", "--page", "p.html"], "--page needs --images"),
        (["NPZ", "--output", "c.json", "--previous", "absent.json"], "absent.json: cannot be read"),
        (["NPZ", "--output", "c.json", "--fresh", "--previous", "c.json"], "not both"),
        (["NPZ", "--output", "c.json", "--threshold", "2"], "expected a number from 0 to 1"),
        (["NPZ", "--output", "c.json", "--previous", "NPZ"], "not JSON"),
    ],
)
def test_bad_arguments(cli, clustering, npz, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    result = cli("cluster", *[npz if o == "NPZ" else o for o in options])
    assert result.code == 2 and message in result.err.splitlines()[-1]


def test_vectors_that_are_no_units_are_refused(cli, clustering, output, tmp_path):
    good = described()
    path = tmp_path / "d.npz"
    write_descriptors(path, good)
    with np.load(path) as content:
        columns = dict(content)
    np.savez(path, **(columns | {"vectors": (units(5, 16) * 7).astype(np.float16)}))
    result = cli("cluster", path, "--output", output)
    assert result.code == 2 and "row 0 has length 7" in result.one_line
