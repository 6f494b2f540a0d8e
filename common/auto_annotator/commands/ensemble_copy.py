"""An ensemble file like another one, with another calibration and threshold: what `calibrate --write` makes."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import yaml

from auto_annotator.errors import ConfigError


def check_place(source: str, target: Path, calibration: Path) -> None:
    """Where the new file and its calibration may lie.

    Raises:
        ConfigError: if it is no .yaml, exists already, stands away from a user's own ensemble, whose files it needs beside it, or
            something that the present ensemble or another one may need would be replaced.
    """
    from auto_annotator.config import ensemble_path, load_ensemble, packaged_ensembles

    if target.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--write {target}: expected the name of a .yaml file")
    if target.exists():
        raise ConfigError(f"--write {target}: exists already: name a new file")
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"--write {target}: its folder does not exist: make it first")
    if source not in packaged_ensembles() and ensemble_path(source).resolve().parent != target.resolve().parent:
        raise ConfigError(f"--write {target}: expected a file beside {Path(source).name}, which names files and code in its folder")
    if calibration.resolve().parent != target.resolve().parent:
        raise ConfigError(f"--output {calibration}: expected a file beside {target}, which names it")
    folder, config = ensemble_path(source).parent, load_ensemble(source)
    for name in filter(None, (config.calibration, config.descriptor_calibration)):
        here, there = folder / name, target.parent / name
        if calibration.resolve() in (here.resolve(), there.resolve()):
            raise ConfigError(f"--write {target}: {calibration.name} is a file of the present ensemble: name another with --output")
        if there.exists() and here.is_file() and there.read_bytes() != here.read_bytes():
            raise ConfigError(f"--write {target}: another {name} lies there, which would be replaced: choose another folder")


def write_copy(source: str, target: Path, *, calibration: Path | None, threshold: float) -> list[Path]:
    """Write the file, and copy what it names beside it.

    Args:
        source: packaged ensemble, or the user's own file.
        target: the new file, see `check_place`.
        calibration: file in the folder of `target`; None = the one that `source` names.
        threshold: of the new file.

    Returns:
        What was written.

    Raises:
        ConfigError: if it cannot be written, or would not work.
    """
    from auto_annotator.calibration import load_calibration
    from auto_annotator.config import ensemble_path, load_ensemble
    from auto_annotator.reports.files import replacing

    path, config = ensemble_path(source), load_ensemble(source)
    text = path.read_text(encoding="utf-8")
    values: dict[str, object] = {"name": target.stem, "threshold": float(f"{threshold:g}")}
    named = [config.descriptor_calibration]
    if calibration is not None:
        values["calibration"] = calibration.name
    else:
        named.append(config.calibration)
    for key, value in values.items():
        line = yaml.safe_dump({key: value}, allow_unicode=True, width=math.inf).rstrip("\n")  # quotes what would be no text
        text, found = re.subn(rf"(?m)^{key}:.*$", lambda _, line=line: line, text)  # type: ignore[misc]
        text = text if found else f"{text.rstrip()}\n{line}\n"
    written = [target]
    try:
        for name in filter(None, named):
            if (target.parent / name).resolve() != (path.parent / name).resolve():
                written.append(Path(shutil.copyfile(path.parent / name, target.parent / name)))
        with replacing(target) as stream:
            stream.write(text)
    except OSError as error:
        raise ConfigError(f"--write {target}: cannot be written ({error.strerror})") from error
    load_calibration(str(target), load_ensemble(str(target)))
    return written
