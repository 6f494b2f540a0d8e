"""`auto-annotator specs`: renders the label spec into function files and lints them."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def functions(repository, tmp_path):
    return shutil.copytree(repository / "functions", tmp_path / "functions")


@pytest.fixture
def file(functions):
    return functions / "face-detection" / "nuclio" / "function.yaml"


def test_fresh_files_say_nothing(cli, functions):
    result = cli("specs", functions, "--check")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_a_stale_file_is_named_then_written(cli, functions, file):
    fresh = file.read_text()
    stale = fresh.replace('"votes"', '"ballots"')
    file.write_text(stale)
    result = cli("specs", functions, "--check")
    assert result.code == 1 and f"{file}: stale" in result.out
    assert file.read_text() == stale, "check writes nothing"
    result = cli("specs", functions)
    assert (result.code, result.out) == (0, f"{file}: written\n")
    assert file.read_text() == fresh


def test_a_broken_rule_is_printed(cli, functions, file):
    file.write_text(file.read_text().replace("\n  description:", "\n  descripton:"))
    result = cli("specs", functions)
    assert result.code == 1
    assert f"{file}: [description] spec.description is missing" in result.out and "[key] spec.descripton" in result.out


def test_a_folder_without_functions_is_exit_2(cli, tmp_path):
    result = cli("specs", tmp_path / "nowhere")
    assert result.code == 2 and "give the folder of the functions" in result.one_line
