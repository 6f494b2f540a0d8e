"""`--rotations`: from the command line and the environment into the settings and into the note of a run."""

import argparse

import pytest

from auto_annotator.commands.options import add_settings_options, settings_of
from auto_annotator.commands.run import fingerprint
from auto_annotator.config import Settings, load_settings
from auto_annotator.errors import ConfigError


def settings(*arguments):
    parser = argparse.ArgumentParser()
    add_settings_options(parser)
    return settings_of(parser.parse_args(arguments))


def test_the_command_line_wins_over_the_environment_and_both_over_the_default(monkeypatch):
    assert settings().rotations == "when_empty"
    monkeypatch.setenv("AUTO_ANNOTATOR_ROTATIONS", "always")
    assert settings().rotations == "always"
    assert settings("--rotations", "off").rotations == "off"


def test_other_values_are_refused(monkeypatch, cli):
    result = cli("detect", "folder", "--output", "-", "--rotations", "sideways")
    assert result.code == 2 and "when_empty" in result.err
    monkeypatch.setenv("AUTO_ANNOTATOR_ROTATIONS", "sideways")
    with pytest.raises(ConfigError, match="AUTO_ANNOTATOR_ROTATIONS"):
        load_settings()


def test_a_run_is_not_resumed_with_other_orientations():
    notes = [fingerprint(Settings(rotations=r), None) for r in ("off", "when_empty", "always")]
    assert len({str(note) for note in notes}) == 3
