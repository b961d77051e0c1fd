"""What is installed, what hardware is seen, whether a run's folder is whole."""

from monoscope.app.doctor import doctor

__all__ = ["doctor"]
