"""The command line: `sternway`. `app.py` says which commands there are; each command's work is in a module of its own.

Rule: a command imports what it needs when it runs, so that `--help` and completion answer at once. Whatever goes
wrong is one of our errors, shown with its hint; exit codes stand in `session.Code`.
"""

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] in (["version"], ["--version"]):
        from sternway import __version__  # noqa: PLC0415  scripts ask for it often: no parser is needed for an answer

        print(f"sternway {__version__}")
        return
    from sternway.cli.interrupts import INTERRUPTED, ending_at_once  # noqa: PLC0415  as above

    with ending_at_once():
        from typer.main import get_command  # noqa: PLC0415  a tenth of a second; importing this package costs nothing

        from sternway.cli.app import app  # noqa: PLC0415  the same

        command = get_command(app)
    try:
        command(prog_name="sternway")
    except KeyboardInterrupt:  # between one command's import and its work
        sys.exit(INTERRUPTED)
