"""The command line's door: ``lossdoctor`` and ``python -m lossdoctor``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line on ``sys.argv`` and leave with its exit code."""
    if sys.argv[1:] == ["--version"]:  # answered before anything is imported
        from lossdoctor import __version__

        print(f"lossdoctor {__version__}")
        return
    try:
        from lossdoctor.cli.app import run

        code = run()
    except KeyboardInterrupt:  # Ctrl-C while the imports ran
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
