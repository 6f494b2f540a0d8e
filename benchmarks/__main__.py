"""Run measurements: python -m benchmarks [NAME ...]."""

from __future__ import annotations

import argparse
import importlib

from benchmarks.common import NotAvailable, machine

NAMES = (
    "fusion_speed",
    "speed",
    "memory",
    "systems",
    "mosaics",
    "close_ups",
    "drawings",
    "rotations",
    "landmarks",
    "verification",
    "clustering",
    "clustering_growth",
    "clustering_scale",
    "cvat_growth",
    "cvat_scale",
)


def main() -> int:
    """Run the named measurements, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure speed, memory and accuracy; results as text."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; default: all")
    names = parser.parse_args().names or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"got {', '.join(unknown)}, expected {', '.join(NAMES)}")
    print(f"measured {machine()}")
    for name in names:
        try:
            importlib.import_module(f"benchmarks.{name}").main()
        except NotAvailable as error:
            print(f"\n### {name}\n\nnot available: {error}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
