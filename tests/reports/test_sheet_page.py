"""The contact sheet of a plan: order, links, what changed, limits, and that nothing in it is more than text."""

from __future__ import annotations

import stat
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from page_reader import HOSTILE, Page
from planned import HOST, make_plan, planned_face

from auto_annotator.bridge.plan import Change, Pair, PlannedPerson, Suggestion
from auto_annotator.errors import ConfigError
from auto_annotator.reports import sheet_people, sheet_view
from auto_annotator.reports.sheet_page import write_sheet
from auto_annotator.reports.sheet_people import SheetPeople
from auto_annotator.review import REASONS

PIXEL = (
    "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5"
    "PTgyPC4zNDL/wAALCAABAAEBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBka"
    "EII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5"
    "usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/APn+v//Z"
)


def page_of(tmp_path, plan, *, pictures=False):
    who = SheetPeople(plan)
    write_sheet(who, tmp_path / "plan.html", dict.fromkeys(who.shown, PIXEL) if pictures else {})
    return Page(tmp_path / "plan.html")


def section(page, anchor):
    """Deep links in the order of the page, from the element with that id on to the next with an id of its own kind."""
    inside, links = False, []
    for tag, attributes in page.tags:
        if tag in ("article", "section") and "id" in attributes:
            inside = attributes["id"] == anchor
        if inside and tag == "a" and "serverID" in attributes.get("href", ""):
            links.append(int(parse_qs(urlsplit(attributes["href"]).query)["serverID"][0]) - 100)
    return links


def test_everything_is_said(tmp_path):
    page = page_of(tmp_path, make_plan())
    texts = (
        "Who is who", HOST, "tasks 1, 2", "11 faces in 11 frames", "2026-01-02 03:04:05 UTC", "Seen once", "Nobody yet", "Left out",
        "The same person?", "They look alike, but not enough to be sure.", "alike 0.38", "Half of the faces are tiny.",
        "about 70 % this person", "about 95 % this person", "also was p0009", "p0002 Ada now includes p0009",
        "they look alike; the older id stays", "p0001 was split, some faces now belong to p0003", "Are they one person?",
        "Names: Ada, Grace", "was p0002", "personal data", "cvat push", "person == p0001", "task 1, job 11: 4 faces",
    )  # fmt: skip
    for text in texts:
        assert text in page.text, text


def test_figures(tmp_path):
    page = page_of(tmp_path, make_plan())
    for title, figure in (("People", "2"), ("Seen once", "1"), ("To check", "5"), ("A push writes", "11")):
        assert title + figure in page.text.replace("\n", ""), title
    for text in (
        "1 face gets a person",
        "2 faces go to another person",
        "1 face follows a person who was merged",
        "2 faces get or lose",
    ):
        assert text in " ".join(page.text.split()), text


def test_doubtful_faces_and_people_come_first(tmp_path):
    page = page_of(tmp_path, make_plan())
    rows = [a["id"] for t, a in page.tags if t == "article" and "id" in a]
    assert rows == ["p2", "p1"]  # the question about names is graver than the doubtful face
    assert section(page, "p2")[:2] == [10, 5] or section(page, "p2")[:2] == [5, 10]
    assert section(page, "p1")[:2] == [2, 3]
    assert section(page, "once") == [7] and sorted(section(page, "nobody")) == [8, 11] and section(page, "never") == [9]


def test_moves_are_told_without_what_a_merge_moves(tmp_path):
    page = page_of(tmp_path, make_plan())
    assert section(page, "moves") == [3, 11]
    assert "p0002 → p0001" in page.text and "p0003 → nobody" in page.text and "p0009 →" not in page.text


def test_a_face_that_a_person_gave_to_somebody_is_no_move(tmp_path):
    plan = make_plan(faces=(planned_face(1, "p0001", human=True), planned_face(2, " p0001 ", human=True)))
    assert not SheetPeople(plan).moves()


def test_pairs_stand_side_by_side(tmp_path):
    page = page_of(tmp_path, make_plan())
    assert sorted(section(page, "pairs")) == [1, 3, 4, 7]  # three faces of one, one of the other


def test_every_face_is_a_link_into_cvat(tmp_path):
    page = page_of(tmp_path, make_plan())
    deep = {link for link in page.links if "serverID" in link}
    assert f"{HOST}/tasks/1/jobs/11?frame=2&serverID=102&type=shape" in deep
    assert f"{HOST}/tasks/2/jobs/21?frame=6&serverID=106&type=shape" in deep
    assert f"{HOST}/tasks/1/jobs/11?frame=10&serverID=110&type=track" in deep
    assert len(deep) == 11
    for tag, attributes in page.tags:
        if tag == "a" and attributes["href"].startswith("http"):
            assert attributes["rel"] == "noopener noreferrer"
        elif tag == "a":
            assert attributes["href"].removeprefix("#") in page.ids


def test_ids_on_the_page_are_unique(tmp_path):
    page = page_of(tmp_path, make_plan())
    assert len(set(page.ids)) == len(page.ids)


def test_only_the_owner_may_read_it(tmp_path):
    (tmp_path / "plan.html").write_text("old")
    (tmp_path / "plan.html").chmod(0o644)
    page_of(tmp_path, make_plan())
    assert stat.S_IMODE((tmp_path / "plan.html").stat().st_mode) == 0o600
    assert "personal data" in (tmp_path / "plan.html").read_text().splitlines()[1]


def test_pictures_are_lazy_and_inside_the_file(tmp_path):
    page = page_of(tmp_path, make_plan(), pictures=True)
    images = [a for t, a in page.tags if t == "img"]
    assert {a["loading"] for a in images} == {"lazy"} and {a["decoding"] for a in images} == {"async"}
    assert len(images) > 11 and all(a["alt"] for a in images)
    assert "content-visibility:auto" in (tmp_path / "plan.html").read_text()


def test_a_page_without_pictures_says_where_each_face_is(tmp_path):
    page = page_of(tmp_path, make_plan())
    assert not page.images and "2/6" in page.text and "Made without pictures." in page.text
    single = page_of(tmp_path, replace(make_plan(), tasks=(1,)))
    assert "frame 4" in single.text


@pytest.mark.parametrize("text", [*HOSTILE, "\u05d0\u05d1\u05d2", '"><script>', "=1+1"])
def test_hostile_texts_are_only_text(tmp_path, text):
    faces = [
        *make_plan().faces,
        planned_face(20, text, was="p0001", name=text, named=text, nearest=text, reasons=("doubtful_person", text)),
        planned_face(21, text, was=text, detector_reasons=(text,)),
    ]
    plan = make_plan(
        faces=tuple(faces),
        people=(*make_plan().people, PlannedPerson(id=text, name=text, faces=2, aliases=(text,))),
        changes=(Change(kind="merged", person=text, others=(text,), reason=text), Change(kind=text, person=text)),
        pairs=(Pair(first="p0001", second=text, score=0.5, reason=text),),
        suggestions=(Suggestion(kind=text, person=text, text=text, names=(text,), faces=(f"f{20:016x}",)),),
        notes=(text,),
        model_set=text,
        created=text,
    )
    page = page_of(tmp_path, plan)  # Page refuses scripts, handlers, and other sources
    assert not [t for t, _ in page.tags if t == "script"]
    assert "\u202e" not in page.text
    assert all(link.startswith(("#", HOST)) for link in page.links)
    assert len(page.text) < 30_000


@pytest.mark.parametrize(
    "server",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil",
        "https://u:p@host",
        "https://h?x=1",
        "https://a b",
        "ftp://h",
        "",
        "http://[",
    ],
)
def test_a_server_that_is_no_web_address_is_refused(tmp_path, server):
    with pytest.raises(ConfigError, match="http or https"):
        page_of(tmp_path, make_plan(server=server))
    assert not list(tmp_path.iterdir())


def test_an_empty_plan_and_a_plan_that_forgets_people(tmp_path):
    empty = page_of(tmp_path, make_plan(faces=(), people=(), pairs=(), changes=(), suggestions=(), notes=()))
    assert "Nobody was seen more than once." in empty.text and "No face changes who it is." in empty.text
    page = page_of(tmp_path, make_plan(people=()))
    assert len({link for link in page.links if "serverID" in link}) == 11


def test_beyond_the_limits_faces_are_links_and_none_is_lost(tmp_path, monkeypatch):
    for module, name, value in (
        (sheet_people, "FACES_PER_PERSON", 5), (sheet_view, "FACES_PER_PERSON", 5), (sheet_people, "MAX_PICTURES", 12),
        (sheet_people, "MAX_LOOSE", 2), (sheet_view, "MAX_LOOSE", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    people = [f"p{i:04d}" for i in range(1, 5)]
    faces = [planned_face(100 * i + j, person) for i, person in enumerate(people) for j in range(9)]
    faces += [planned_face(1000 + j) for j in range(6)]
    plan = make_plan(faces=tuple(faces), people=(), pairs=(), suggestions=(), changes=())
    who = SheetPeople(plan)
    assert len(who.shown) == 12
    page = page_of(tmp_path, plan, pictures=True)
    assert len(page.images) == 12
    assert len({link for link in page.links if "serverID" in link}) == len(faces)
    assert page.text.count("more face") >= 4


def test_many_moves_pairs_and_questions_are_cut_and_told(tmp_path, monkeypatch):
    for module in (sheet_people, sheet_view):
        monkeypatch.setattr(module, "MAX_PAIRS", 2)
        monkeypatch.setattr(module, "MAX_MOVES", 2)
        monkeypatch.setattr(module, "MAX_ASKED", 2)
    from auto_annotator.reports import sheet_page

    for name in ("MAX_PAIRS", "MAX_MOVES", "MAX_ASKED"):
        monkeypatch.setattr(sheet_page, name, 2)
    faces = [planned_face(i, "p0001", was=f"p{i + 10:04d}") for i in range(1, 6)]
    pairs = tuple(Pair(first="p0001", second=f"p{i:04d}", score=0.4, reason="look_alike") for i in range(12, 17))
    asked = tuple(Suggestion(kind="contradiction", person="p0001", text="?", faces=(faces[0].ref.key,)) for _ in range(5))
    page = page_of(tmp_path, make_plan(faces=tuple(faces), pairs=pairs, suggestions=asked))
    for text in ("3 less likely pairs not shown", "3 smaller moves not shown", "3 more questions not shown", "5 pairs"):
        assert text in page.text, text


def test_what_a_tile_tells(tmp_path):
    page = page_of(tmp_path, make_plan())
    titles = [a["title"] for t, a in page.tags if t == "li" and "face" in a.get("class", "")]
    told = next(t for t in titles if "shape 102" in t)
    assert "confidence 0.30" in told and "next best: Ada, alike 0.41" in told and REASONS["doubtful_person"] in told
    assert any(REASONS["low_score"] in t and "score 30 %" in t for t in titles)
