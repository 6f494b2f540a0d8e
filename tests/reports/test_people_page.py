"""The contact sheet: whom it shows, in which order, within which limits, and that nothing in it is more than text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from clusters_ready import make_cluster_face, make_clusters
from page_reader import HOSTILE, Page

from auto_annotator.errors import ImageError
from auto_annotator.exchange.clusters_file import ClusteredPerson, Contradiction, Suggestion
from auto_annotator.reports import people_view
from auto_annotator.reports.people_page import THUMBNAIL_SIDE, write_people_page
from auto_annotator.review import REASONS


def grey(path):
    return np.full((60, 80, 3), 130, np.uint8)


def page_of(tmp_path, content, *, find=lambda name: None if name == "gone.png" else name, read=grey, **options):
    write_people_page(content, find, tmp_path / "people.html", read=read, **options)
    return Page(tmp_path / "people.html")


def faces_in(page):
    """For each list item of a face: is it flagged."""
    return ["look" in a["class"] for t, a in page.tags if t == "li" and a.get("class", "").startswith("face")]


def test_everything_is_said(tmp_path):
    page = page_of(tmp_path, make_clusters(), subtitle="ensemble fakes")
    texts = (
        "People found", "ensemble fakes", "10 faces in 3 pictures", "Anna", "p0001", "Seen once", "Unknown", "Left out",
        "The same person?", "They look alike, but not enough to be sure.", "alike 0.62", "Half of the faces are tiny.",
        "the picture is not where it was", "about 90 % this person", "1 to check", "One person and two people at once",
    )  # fmt: skip
    for text in texts:
        assert text in page.text, text
    assert "personal data" in page.text
    assert "picture not there" in page.text


def test_figures(tmp_path):
    page = page_of(tmp_path, make_clusters())
    for title, figure in (("People", "2"), ("Seen once", "1"), ("To check", "2"), ("Unknown", "2")):
        assert page.text.split(title + figure)[1:], title


def test_doubtful_faces_come_first_and_are_flagged(tmp_path):
    page = page_of(tmp_path, make_clusters(suggestions=()))
    # the rows of p0001 and p0002 (equal purity, the larger one first), then one seen once, two unknown, one left out
    assert faces_in(page) == [True, False, False, True, False, False, False, False, False]
    titles = [a["title"] for t, a in page.tags if t == "li" and a.get("class", "").startswith("face")]
    assert "key f2" in titles[0] and "key f5" in titles[3] and "next best: p0001, alike 0.40" in titles[3]
    assert REASONS["blurred"] in titles[-2] + titles[-3] and "no_such_code" in titles[-2] + titles[-3]


def test_people_to_check_come_before_the_others(tmp_path):
    content = make_clusters(doubtful=("f5",))
    page = page_of(tmp_path, content)
    assert [a["id"] for t, a in page.tags if t == "article" and "id" in a] == ["p2", "p1"]


def test_every_link_leads_to_a_place_on_the_page(tmp_path):
    page = page_of(tmp_path, make_clusters())
    assert len(set(page.ids)) == len(page.ids)
    assert page.links and {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_the_link_to_the_pictures(tmp_path):
    assert "index.html" in page_of(tmp_path, make_clusters(), detection_page="index.html").links


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_text(tmp_path, name):
    content = make_clusters(names=(name, name), image=name, key=name + "{}" if "{" not in name else "f{}", warnings=(name,))
    content = replace(
        content,
        conflicts=(Contradiction(kind=name, faces=(content.faces[0].key,)), Contradiction(kind="two_names", faces=(), detail=name)),
        suggestions=(Suggestion(first="p0001", second="p0002", score=0.5, reason=name),),
    )
    page = page_of(tmp_path, content, title=name, subtitle=name)  # Page refuses scripts, handlers and other sources
    assert not [t for t, _ in page.tags if t == "script"]
    assert "\u202e" not in page.text.replace(name, "")  # only where a sentence is shown as it is, inside its own element


@pytest.mark.parametrize("person", ["<script>alert(1)</script>", 'x" onload="y', "\u202eevil", "p" * 10_000])
def test_a_hostile_id_is_only_text(tmp_path, person):
    content = make_clusters()
    people = tuple(replace(p, id=person) if p.id == "p0001" else p for p in content.people)
    faces = tuple(replace(f, person=person if f.person == "p0001" else f.person, nearest=None) for f in content.faces)
    page = page_of(tmp_path, replace(content, people=people, faces=faces, suggestions=()))
    assert len(page.text) < 20_000


def test_limits_hold_and_are_told(tmp_path, monkeypatch):
    for name, value in (("MAX_PEOPLE", 3), ("FACES_PER_PERSON", 4), ("MAX_LOOSE", 5), ("MAX_SUGGESTIONS", 2)):
        monkeypatch.setattr(people_view, name, value)
    people = [ClusteredPerson(id=f"p{i:04d}", name="", faces=6, purity=1) for i in range(10)]
    faces = [make_cluster_face(f"f{i}-{j}", f"p{i:04d}") for i in range(10) for j in range(6)]
    faces += [make_cluster_face(f"u{i}", state="unknown") for i in range(9)]
    suggestions = [Suggestion(first="p0000", second=f"p{i:04d}", score=0.5, reason="same_picture") for i in range(1, 6)]
    content = make_clusters(people=tuple(people), faces=tuple(faces), doubtful=(), suggestions=tuple(suggestions))
    page = page_of(tmp_path, content)
    texts = (
        "7 people with less need of a look are not shown", "2 more faces of this person not shown", "4 more faces not shown",
        "3 less likely pairs not shown",
    )  # fmt: skip
    for text in texts:
        assert text in page.text, text
    assert len([1 for t, a in page.tags if t == "article" and "id" in a]) == 3
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_rows_end_where_there_are_enough_faces(tmp_path, monkeypatch):
    monkeypatch.setattr(people_view, "MAX_THUMBNAILS", 4)
    page = page_of(tmp_path, make_clusters(suggestions=()))
    assert [a["id"] for t, a in page.tags if t == "article" and "id" in a] == ["p1"]
    assert "1 person with less need of a look is not shown" in page.text


def test_each_picture_is_opened_once_and_only_if_it_is_shown(tmp_path):
    opened = []
    page_of(tmp_path, make_clusters(), read=lambda p: opened.append(p) or grey(p))
    assert sorted(opened) == ["a.png", "b.png"]


def test_thumbnails_are_small_and_square(tmp_path):
    face = make_cluster_face("f1", "p0001", box=(100.0, 100.0, 1900.0, 1500.0))
    content = make_clusters(
        people=(ClusteredPerson(id="p0001", name="A", faces=1, purity=1),), faces=(face,), doubtful=(), suggestions=()
    )
    page = page_of(tmp_path, content, read=lambda p: np.zeros((2000, 3000, 3), np.uint8))
    assert [i.size for i in page.images] == [(THUMBNAIL_SIDE, THUMBNAIL_SIDE)]
    assert (tmp_path / "people.html").stat().st_size < 30_000


def gone(path):
    raise ImageError("unreadable_file", "gone")


def test_pictures_that_are_gone_leave_empty_frames(tmp_path):
    page = page_of(tmp_path, make_clusters(), read=gone)
    assert not page.images and page.text.count("picture not there") >= 9


@pytest.mark.parametrize(
    "box", [(-5.0, -5.0, 20.0, 20.0), (70.0, 50.0, 500.0, 400.0), (5.0, 5.0, 5.0, 5.0), (900.0, 900.0, 950.0, 950.0)]
)
def test_any_box_makes_a_thumbnail(tmp_path, box):
    faces = tuple(replace(f, box=box) for f in make_clusters().faces)
    assert page_of(tmp_path, make_clusters(faces=faces)).images


def test_nobody_at_all_is_still_a_page(tmp_path):
    content = make_clusters(people=(), faces=(), suggestions=(), doubtful=(), conflicts=(), warnings=())
    assert "Nobody was seen more than once." in page_of(tmp_path, content).text
