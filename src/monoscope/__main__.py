"""``python -m monoscope`` is the command line."""

from monoscope.app.cli import main

main()
