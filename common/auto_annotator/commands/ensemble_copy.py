"""An ensemble file like another one, with another calibration and threshold: what `calibrate --write` makes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from auto_annotator.errors import ConfigError


def check_place(source: str, target: Path) -> None:
    """Where the new file may lie.

    Raises:
        ConfigError: if it is no .yaml, exists already, or stands away from a user's own ensemble, whose files it needs beside it.
    """
    from auto_annotator.config import ensemble_path, packaged_ensembles

    if target.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--write {target}: expected the name of a .yaml file")
    if target.exists():
        raise ConfigError(f"--write {target}: exists already: name a new file")
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"--write {target}: its folder does not exist: make it first")
    if source not in packaged_ensembles() and ensemble_path(source).resolve().parent != target.resolve().parent:
        raise ConfigError(f"--write {target}: expected a file beside {Path(source).name}, which names files and code in its folder")


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
    values = {"name": target.stem, "threshold": f"{threshold:g}"}
    named = [config.descriptor_calibration]
    if calibration is not None:
        values["calibration"] = calibration.name
    else:
        named.append(config.calibration)
    for key, value in values.items():
        text, found = re.subn(rf"(?m)^{key}:.*$", lambda _, key=key, value=value: f"{key}: {value}", text)  # type: ignore[misc]
        text += "" if found else f"{key}: {value}\n"
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
