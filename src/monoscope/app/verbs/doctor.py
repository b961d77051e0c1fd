"""What is installed, what hardware is seen, whether a run's folder is whole.

Example: `monoscope doctor monoscope-run`
"""

from monoscope.app.doctor import doctor

__all__ = ["doctor"]
