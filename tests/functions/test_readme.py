"""The README says what is true of the files beside it."""

import re

import yaml


def readme(repository):
    return (repository / "README.md").read_text(encoding="utf-8")


def test_nothing_was_left_to_fill_in(repository):
    assert "@@" not in readme(repository)


def test_every_relative_link_leads_somewhere(repository):
    for page in [repository / "README.md", *repository.glob("docs/*.md"), repository / "deploy" / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_body_limit_is_that_of_the_function_files(repository):
    for path in (repository / "functions").glob("face-detection/nuclio/function*.yaml"):
        trigger = yaml.safe_load(path.read_text())["spec"]["triggers"]["myHttpTrigger"]
        assert f"{trigger['attributes']['maxRequestBodySize']} bytes" in readme(repository)


def test_every_make_target_that_is_named_exists(repository):
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^\$ |`)make ([a-z-]+)", readme(repository), re.MULTILINE))
    assert named
    assert named <= targets
