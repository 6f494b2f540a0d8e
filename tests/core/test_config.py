"""Ensemble files and settings: every rule is broken once, and the message names the field."""

import pytest
import yaml

from auto_annotator.config import Settings, ensemble_path, import_object, load_ensemble, load_settings, packaged_ensembles
from auto_annotator.errors import ConfigError

MEMBER = {"name": "a", "use": "package.module:Class", "views": [{"size": 640}]}


def write(tmp_path, data):
    path = tmp_path / "mine.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return str(path)


def test_every_packaged_ensemble_is_valid_and_its_classes_exist():
    assert "embedded" in packaged_ensembles()
    for name in packaged_ensembles():
        config = load_ensemble(name)
        assert config.name == name
        for part in (*config.members, *config.refiners):
            assert import_object(part.use)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": []}, "members"),
        ({"members": [MEMBER | {"views": []}]}, "views"),
        ({"members": [MEMBER | {"views": [{"size": 640, "tile": 640}]}]}, "either `size`"),
        ({"members": [MEMBER | {"views": [{}]}]}, "either `size`"),
        ({"members": [MEMBER | {"views": [{"size": 640, "min_face": 9, "max_face": 8}]}]}, "no face at all"),
        ({"members": [MEMBER | {"views": [{"size": 640}, {"size": 640}]}]}, "views must differ"),
        ({"members": [MEMBER | {"views": [{"size": 8}]}]}, "size"),
        ({"members": [MEMBER | {"views": [{"size": 640, "longer_than": 9}]}]}, "one must be for all"),
        ({"members": [MEMBER | {"use": "no colon"}]}, "use"),
        ({"members": [MEMBER | {"name": "Has Space"}]}, "name"),
        ({"members": [MEMBER | {"threshold": 2}]}, "threshold"),
        ({"members": [MEMBER, MEMBER]}, "must differ"),
        ({"members": [MEMBER], "fusion": {"min_votes": 2}}, "min_votes"),
        ({"members": [MEMBER], "fusion": {"rule": "magic"}}, "rule"),
        ({"members": [MEMBER], "misspelt": 1}, "misspelt"),
        ({"members": [MEMBER], "threshold": 1.5}, "threshold"),
    ],
)
def test_a_broken_rule_is_named(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        load_ensemble(write(tmp_path, {"name": "mine"} | change))


def test_yaml_that_is_no_ensemble_is_refused(tmp_path):
    for text in ("members: [", "- a\n- b", "", "!!python/object/apply:os.system ['true']"):
        with pytest.raises(ConfigError, match=r"mine\.yaml"):
            load_ensemble(write(tmp_path, text))


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="embedded"):
        ensemble_path("nonsense")
    with pytest.raises(ConfigError, match="exists"):
        ensemble_path(str(tmp_path / "absent.yaml"))


def test_weights_are_named_once_in_order(tmp_path):
    config = load_ensemble(write(tmp_path, {
        "name": "mine",
        "members": [MEMBER | {"weights": "x"}, MEMBER | {"name": "b", "weights": ["y", "x"]}],
        "refiners": [{"name": "r", "use": "p:C", "weights": "z"}],
    }))  # fmt: skip
    assert config.weight_names == ("x", "y", "z")


@pytest.mark.parametrize("path", ["no_such_module:Class", "auto_annotator.types:NoSuchName"])
def test_an_import_path_that_leads_nowhere_is_named(path):
    with pytest.raises(ConfigError, match=path):
        import_object(path)


def test_settings_come_from_the_environment_and_the_caller_wins(monkeypatch):
    monkeypatch.setenv("AUTO_ANNOTATOR_DEVICE", "cpu")
    monkeypatch.setenv("AUTO_ANNOTATOR_THREADS", "3")
    settings = load_settings(threads=5, ensemble=None)
    assert (settings.device, settings.threads, settings.ensemble) == ("cpu", 5, "embedded")
    assert isinstance(settings, Settings)


def test_a_tilde_in_the_folder_of_models_is_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AUTO_ANNOTATOR_MODELS", "~/weights")
    assert load_settings().models == load_settings(models="~/weights").models == tmp_path / "weights"
    with pytest.raises(ConfigError, match="AUTO_ANNOTATOR_MODELS"):
        load_settings(models="~no-such-user-here/weights")


@pytest.mark.parametrize(("name", "value"), [("DEVICE", "tpu"), ("THREADS", "-1"), ("MAX_PIXELS", "many")])
def test_a_wrong_variable_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"AUTO_ANNOTATOR_{name}", value)
    with pytest.raises(ConfigError, match=f"AUTO_ANNOTATOR_{name}"):
        load_settings()
