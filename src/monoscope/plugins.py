"""A folder is a registry: the name of a file is the name of its plug-in.

A plug-in folder is a package whose ``__init__.py`` holds nothing that needs registering. ``names`` lists the files,
``load`` imports one. A name with a dot is imported as it stands, so that a third party's module is a plug-in too:
``plugins.load("monoscope.train.objectives", "their_package.objective")``.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType

from monoscope.errors import MonoscopeError, unknown_name


def names(package: str) -> list[str]:
    """The plug-ins of ``package`` (a dotted package name), sorted; files that begin with ``_`` are not plug-ins."""
    folder = importlib.import_module(package)
    return sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """Import the plug-in ``name`` of ``package``, or the module ``name`` when it holds a dot.

    Raises:
        MonoscopeError: there is no such plug-in (names the nearest one), or the dotted module cannot be imported.
    """
    if not isinstance(name, str):
        raise MonoscopeError(f"{name!r} is no name", fix=f"choose one of: {', '.join(names(package))}")
    if "." in name:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise MonoscopeError(
                f"plug-in module {name!r} cannot be imported: {error}",
                fix="install the package that holds it, or correct the dotted name",
            ) from error
    found = sys.modules.get(f"{package}.{name}")
    if found is not None and not name.startswith("_"):  # imported before: the folder need not be listed again
        return found
    if name not in names(package):
        raise unknown_name(package.rsplit(".", 1)[-1].rstrip("s").replace("_", " "), name, names(package))
    return importlib.import_module(f"{package}.{name}")
