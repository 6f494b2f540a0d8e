"""The journal of pre-labelling: what it remembers, whom it lets in, and that a kill at any byte costs one line."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.bridge.prelabel_journal import Journal, journal_path
from auto_annotator.bridge.prelabel_known import DELETED, FaceNote, FrameNote
from auto_annotator.errors import ConfigError

FACE = FaceNote(key="f0123456789abcdef", box=(1.0, 2.5, 3.0, 4.25), words="aa", points="bb")
GONE = FaceNote(key="fedcba9876543210f", box=(10.0, 20.0, 30.0, 40.0), words="", points=DELETED)
NOTE = FrameNote(faces=(FACE,), gone=(GONE,))
PLANNED = FrameNote(gone=(GONE,), next=(FACE,))


@pytest.fixture
def path(tmp_path):
    return journal_path("https://cvat.example.com", 7, tmp_path / "cvat" / "prelabel")


def test_an_interrupted_run_goes_on_and_a_finished_one_starts_anew(path):
    with Journal(path, "a") as journal:
        journal.plan(70, {0: PLANNED, 1: PLANNED})
        assert not journal.is_done(70, 0)
        journal.done(70, {0: NOTE})
    with Journal(path, "a") as journal:
        assert [journal.is_done(70, frame) for frame in (0, 1)] == [True, False]
        assert (journal.note(70, 0), journal.note(70, 1), journal.note(71, 0)) == (NOTE, PLANNED, FrameNote())
        journal.finish()
    with Journal(path, "a") as journal:
        assert not journal.is_done(70, 0)
        assert journal.note(70, 0) == NOTE


@pytest.mark.parametrize(("made_by", "fresh"), [("b", False), ("a", True)])
def test_other_settings_and_fresh_start_anew_and_remember(path, made_by, fresh):
    with Journal(path, "a") as journal:
        journal.done(70, {0: NOTE})
    with Journal(path, made_by, fresh=fresh) as journal:
        assert not journal.is_done(70, 0)
        assert journal.note(70, 0) == NOTE
    with Journal(path, made_by) as journal:
        assert not journal.is_done(70, 0), "not even after a second interruption"


def test_a_dry_run_reads_and_leaves_nothing(path):
    with Journal(path, "a", read_only=True) as journal:
        journal.done(70, {0: NOTE})
        journal.finish()
    assert not path.parent.exists()
    with Journal(path, "a") as journal:
        journal.done(70, {0: NOTE})
    before = path.read_bytes()
    with Journal(path, "a", read_only=True) as journal:
        assert journal.is_done(70, 0)
    assert path.read_bytes() == before


def test_files_belong_to_their_owner_and_name_nobody(path):
    with Journal(path, "a") as journal:
        journal.done(70, {0: NOTE})
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]
    assert "example" not in str(path)


def test_a_second_run_on_the_same_task_is_refused(path):
    with Journal(path, "a"):
        with pytest.raises(ConfigError, match="another"):
            Journal(path, "a")
        with Journal(path, "a", read_only=True):
            pass
        with Journal(path.with_name("other-8.jsonl"), "a"):
            pass
    with Journal(path, "a"):
        pass


def test_a_folder_that_cannot_be_used_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="AUTO_ANNOTATOR_CVAT_CACHE"):
        Journal(tmp_path / "file" / "prelabel" / "x.jsonl", "a")


@given(st.integers(0, 10_000), st.binary(max_size=20))
def test_a_line_cut_anywhere_costs_that_line_only(tmp_path_factory, cut, rubbish):
    path = tmp_path_factory.mktemp("journal") / "prelabel" / "x.jsonl"
    with Journal(path, "a") as journal:
        journal.done(70, {0: NOTE})
        journal.plan(70, {1: PLANNED})
        whole = path.read_bytes()
        journal.done(70, {1: NOTE})
    tail = path.read_bytes()[len(whole) :]
    part = cut % len(tail)
    path.write_bytes(whole + tail[:part] + rubbish)
    with Journal(path, "a") as journal:
        assert journal.is_done(70, 0)
        assert journal.note(70, 0) == NOTE
        assert journal.note(70, 1) in ((PLANNED, NOTE) if part == len(tail) - 1 else (PLANNED,))
