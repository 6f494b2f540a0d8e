from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_reader import HOSTILE, Page
from reports_strategies import any_record, make_face

from auto_annotator.errors import ImageError
from auto_annotator.reports.page import need_of_review, summarise, write_page
from auto_annotator.reports.page_view import CROP_SIDE, THUMBNAIL_SIDE
from auto_annotator.reports.records import Record, from_error
from auto_annotator.review import REASONS


def grey(height, width):
    return np.full((height, width, 3), 130, np.uint8)


def page_of(folder, records, *, read=None, pictures=None, **options):
    sizes = {name_path(r.image): (r.height, r.width) for r in records if r.error is None}
    path = folder / "index.html"
    places = pictures if pictures is not None else {r.image: name_path(r.image) for r in records}
    write_page(records, places, path, read=read or (lambda p: grey(*sizes[p])), **options)
    return Page(path)


def name_path(name):
    return Path(f"picture-{abs(hash(name))}")


def test_the_page_needs_nothing_else_and_shows_everything(tmp_path, records):
    page = page_of(tmp_path, records, title="My run", subtitle="ensemble embedded")
    source = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import", source)
    assert source.index("personal data") < 200
    assert "This page holds personal data" in page.text[: page.text.index("My run", page.text.index("personal"))]
    policy = next(a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv"))
    assert "default-src 'none'" in policy and "script-src" not in policy
    for shown in ("My run", "party/a.jpg", "empty.png", "broken.jpg", "truncated", REASONS["few_votes"], "yunet: raised"):
        assert shown in page.text
    assert sum(t == "rect" and a["class"] == "line" for t, a in page.tags) == 3 + 1 + 2  # faces, the close-up, the legend
    assert len(page.images) == 3 + 1


def test_every_link_leads_to_a_place_on_the_page(tmp_path, records):
    page = page_of(tmp_path, records)
    assert len(set(page.ids)) == len(page.ids)
    assert page.links and {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert all(link.startswith("#") for link in page.links)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_text(tmp_path, name):
    picture = Record(image=name, width=60, height=40, faces=(make_face((1.0, 1.0, 30.0, 30.0), review=True, votes={name: 0.5}),))
    failed = from_error(name, ImageError(name, name))
    page = page_of(tmp_path, [picture, failed], title=name, subtitle=name)  # Page refuses scripts, handlers and other sources
    assert not [t for t, _ in page.tags if t == "script"]
    assert all(len(text) <= 300 for text in re.findall(r"x{2,}", " ".join(a.get("alt", "") for _, a in page.tags)))


@settings(max_examples=25, deadline=None)
@given(records=st.lists(any_record, max_size=3))
def test_any_record_makes_a_well_formed_page(tmp_path_factory, records):
    page_of(tmp_path_factory.mktemp("page"), records, read=lambda p: grey(20, 20))


def test_pictures_that_need_a_look_come_first():
    calm = Record(image="a", width=9, height=9, faces=(make_face(),))
    failed_member = Record(image="b", width=9, height=9, faces=(make_face(score=0.9),))
    weak = Record(image="c", width=9, height=9, faces=(make_face(score=0.2),))
    one = Record(image="d", width=9, height=9, faces=(make_face(review=True),))
    two = Record(image="e", width=9, height=9, faces=(make_face(review=True), make_face(review=True)))
    assert [r.image for r in sorted([calm, failed_member, weak, one, two], key=need_of_review)] == ["e", "d", "c", "b", "a"]


def test_beyond_the_limit_the_page_says_how_many_are_missing(tmp_path):
    calm = [Record(image=f"calm-{i}.jpg", width=9, height=9) for i in range(5)]
    urgent = Record(image="urgent.jpg", width=90, height=90, faces=(make_face(review=True),))
    page = page_of(tmp_path, [*calm, urgent], max_pictures=2)
    assert len([1 for t, a in page.tags if t == "article"]) == 2
    assert "urgent.jpg" in page.text and "4 pictures with less need of review are not shown" in page.text
    assert "6" in page.text  # the figures on top are of all pictures


def test_thumbnails_are_small_and_hold_no_metadata(tmp_path):
    record = Record(image="a.jpg", width=3000, height=2000, faces=(make_face((100.0, 100.0, 900.0, 900.0), review=True),))
    whole, crop = page_of(tmp_path, [record]).images
    assert whole.size == (THUMBNAIL_SIDE, round(THUMBNAIL_SIDE * 2 / 3)) and crop.size == (CROP_SIDE, CROP_SIDE)
    assert not whole.getexif() and (tmp_path / "index.html").stat().st_size < 100_000


@pytest.mark.parametrize(
    "box", [(-5.0, -5.0, 20.0, 20.0), (50.0, 30.0, 64.0, 48.0), (0.0, 0.0, 64.0, 48.0), (10.0, 10.0, 10.0, 10.0)]
)
def test_a_close_up_at_the_edge_of_the_picture_is_square(tmp_path, box):
    record = Record(image="a.jpg", width=64, height=48, faces=(make_face(box, review=True),))
    _, crop = page_of(tmp_path, [record]).images
    assert crop.size[0] == crop.size[1]


def test_a_close_up_shows_the_face_in_its_middle(tmp_path):
    image = grey(100, 100)
    image[40:60, 70:90] = (255, 0, 0)
    record = Record(image="a.jpg", width=100, height=100, faces=(make_face((70.0, 40.0, 90.0, 60.0), review=True),))
    _, crop = page_of(tmp_path, [record], read=lambda p: image).images
    pixels = np.asarray(crop.convert("RGB")).astype(int)
    reddish = np.argwhere(pixels[..., 0] - pixels[..., 1] > 120)
    assert abs(reddish.mean(axis=0) - np.array(crop.size) / 2).max() <= 1.5


def test_a_number_stays_on_the_picture_and_off_a_small_face(tmp_path):
    small, large, corner = (10.0, 1.0, 18.0, 11.0), (30.0, 0.0, 90.0, 80.0), (197.0, 50.0, 200.0, 60.0)
    faces = tuple(make_face(box) for box in (small, large, corner))
    page = page_of(tmp_path, [Record(image="a.jpg", width=200, height=100, faces=faces)])
    tags = [(a["class"].split()[1:], a["style"]) for t, a in page.tags if t == "a" and a.get("class", "").startswith("tag")]
    assert tags == [(["in"], "left:5.0%;top:11.0%"), (["in"], "left:15.0%;top:0.0%"), (["above", "end"], "left:98.5%;top:50.0%")]


def gone(path):
    raise ImageError("unreadable_file", "gone")


@pytest.mark.parametrize("read", [gone, lambda p: grey(5, 5)])
def test_a_picture_that_is_gone_or_changed_leaves_its_boxes(tmp_path, records, read):
    page = page_of(tmp_path, records[:1], read=read)
    assert not page.images and "not there any more" in page.text
    assert sum(t == "rect" and a["class"] == "line" for t, a in page.tags) == 2 + 2


def test_a_name_that_leaves_the_folder_is_not_followed(tmp_path):
    names = ("../secret.png", "/etc/secret.png", "a/../../secret.png", "nul\0.png")
    records = [Record(image=name, width=8, height=8) for name in names] + [Record(image="in/side.png", width=8, height=8)]
    asked = []

    def read(path):
        asked.append(path)
        return grey(8, 8)

    page_of(tmp_path, records, read=read, pictures=tmp_path)
    assert asked == [tmp_path / "in/side.png"]


def test_figures_are_of_all_records(records):
    summary = summarise(records)
    assert (summary.pictures, summary.faces, summary.review, summary.failed_count) == (4, 3, 1, 1)
    assert (summary.review_pictures, summary.without_faces, summary.review_percent) == (1, 1, 33.3)
    assert [(m.name, m.count, m.note) for m in summary.members] == [
        ("yunet", 3, "no answer for 1 picture"), ("centerface", 2, ""),
    ]  # fmt: skip
    assert [(r.name, r.count) for r in summary.reasons] == [(REASONS["few_votes"], 1)]


def test_no_record_at_all_is_still_a_page(tmp_path):
    assert "no picture to show" in page_of(tmp_path, []).text


def test_a_point_that_the_head_hides_is_drawn_hollow_and_named_so(tmp_path):
    face = replace(make_face(), hidden=("left_eye",))
    page = page_of(tmp_path, [Record(image="a.jpg", width=120, height=100, faces=(face,))])
    assert "hidden left eye of face 1" in page.text and "hidden nose" not in page.text
    assert sum(t == "path" and a["class"] == "hole" for t, a in page.tags) == 1 + 1  # the point, the legend
