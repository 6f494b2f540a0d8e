"""Both layouts of labelled sets, and what is refused."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from auto_annotator.errors import ConfigError
from auto_annotator.evaluation.readers import box_around, read_labelled

LABELS = """0--Parade/a.jpg
2
10 20 30 40 2 0 1 0 1 0
50 60 5 6 0 1 0 1 2 1
1--Party/b.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Party/c.jpg
1
1 2 3 4 1 0 0 0 0 0
"""


def cells(values):
    out = np.empty((len(values), 1), object)
    for row, value in enumerate(values):
        out[row, 0] = value
    return out


def wider(folder, *, lists=True):
    (folder / "wider_face_split").mkdir(parents=True)
    (folder / "wider_face_split" / "wider_face_val_bbx_gt.txt").write_text(LABELS)
    for event in ("0--Parade", "1--Party"):
        (folder / "WIDER_val" / "images" / event).mkdir(parents=True)
    if lists:
        for level, kept in (("easy", [[[]], [[], []]]), ("medium", [[[1]], [[], [1]]]), ("hard", [[[1, 2]], [[], [1]]])):
            data = {
                "event_list": cells(["0--Parade", "1--Party"]),
                "file_list": cells([cells(["a"]), cells(["b", "c"])]),
                "gt_list": cells([cells([np.array(r, np.uint8).reshape(-1, 1) for r in rows]) for rows in kept]),
            }
            savemat(folder / f"wider_{level}_val.mat", data)
    return folder


def test_wider_face_as_its_authors_give_it(tmp_path):
    one, empty, last = read_labelled(wider(tmp_path))
    assert one.path == tmp_path / "WIDER_val" / "images" / "0--Parade" / "a.jpg"
    assert one.boxes.tolist() == [[10, 20, 40, 60], [50, 60, 55, 66]]
    assert {name: values.tolist() for name, values in one.attributes.items()} == {
        "blur": [2, 0], "expression": [0, 1], "illumination": [1, 0], "invalid": [0, 1], "occlusion": [1, 2], "pose": [0, 1],
    }  # fmt: skip
    assert [p.keep for p in (one, empty, last)] == [
        {"easy": (), "medium": (0,), "hard": (0, 1)},
        {"easy": (), "medium": (), "hard": ()},
        {"easy": (), "medium": (0,), "hard": (0,)},
    ]
    assert (len(empty.boxes), last.event) == (0, "1--Party")


def test_without_the_official_lists_every_valid_face_counts(tmp_path):
    one = read_labelled(wider(tmp_path, lists=False))[0]
    assert one.counts("easy").tolist() == one.counts("hard").tolist() == [True, False]


def test_a_folder_with_boxes(tmp_path):
    row = {"file": "a.jpg", "boxes_xywh": [[1, 2, 3, 4]], "keep": {"medium": []}, "attributes": {"blur": [1]}}
    (tmp_path / "annotations.json").write_text(json.dumps([row]))
    (one,) = read_labelled(tmp_path)
    assert (one.boxes.tolist(), one.points_only, one.landmarks) == ([[1, 2, 4, 6]], False, None)
    assert (one.counts("medium").tolist(), one.counts("hard").tolist()) == ([False], [True])


def test_a_folder_with_points_guesses_boxes_that_hold_them(tmp_path):
    points = [[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]]
    (tmp_path / "landmarks.json").write_text(
        json.dumps({"a.jpg": {"landmarks5": points}, "b.jpg": {"landmarks5": points, "box": [1, 2, 90, 99]}})
    )
    one, two = read_labelled(tmp_path)
    assert one.points_only
    assert one.landmarks.tolist() == [points]
    assert (one.boxes == box_around(np.array([points], np.float32))).all()
    x1, y1, x2, y2 = one.boxes[0]
    assert x1 < 30
    assert x2 > 70
    assert y1 < 40
    assert y2 > 80
    assert two.boxes.tolist() == [[1, 2, 90, 99]]


@pytest.mark.parametrize("text", ["{", "[1]", '[{"file": "a"}]', '[{"file": "a", "boxes_xywh": [[1, 2, 3]]}]'])
def test_broken_labels_are_refused(tmp_path, text):
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labelled(tmp_path)


def test_other_folders_and_broken_lists_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="labelled data"):
        read_labelled(tmp_path)
    with pytest.raises(ConfigError, match="labelled data"):
        read_labelled(tmp_path / "nowhere")
    labels = wider(tmp_path / "w") / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    labels.write_text(LABELS.replace("1--Party/c.jpg\n1\n1 2 3 4", "1--Party/c.jpg\n1\n1 2 3"))
    with pytest.raises(ConfigError, match="line 8"):
        read_labelled(tmp_path / "w")
    labels.write_text(LABELS)
    savemat(tmp_path / "w" / "wider_easy_val.mat", {"something": [1]})
    with pytest.raises(ConfigError, match="wider_easy_val"):
        read_labelled(tmp_path / "w")
