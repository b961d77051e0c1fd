"""Writing a catalogue as a static site: pages, a table of all features, a record of each, and the text around examples.

======================  ====================================================================================
``index.html``          the one page; addresses are ``?/feature/7``, so that no host needs a rewriting rule
``static/``             the pages' own modules; ``source.js`` says that answers come from files
``data/site.json``      what the overview shows, and where packs begin; written last
``data/table.bin``      every column that the table shows, sorts, filters or searches by; deflated JSON
``data/features/``      a pack of records, one a feature
``data/text/``          a pack of blocks of text around examples; ``documents.bin`` numbers them
``manifest.json``       every file with its hash
======================  ====================================================================================
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

from monoscope import folder
from monoscope.app.static_site.compact import record
from monoscope.app.static_site.pack import PackWriter, encode
from monoscope.app.static_site.text import BLOCK, WIDE, Passages
from monoscope.app.ui import modules, payloads
from monoscope.progress import bar

KIND = "static site"
FORMAT = 1
BEST = 24
STATIC = Path(__file__).parents[1] / "ui" / "static"
LEFT_OUT = ("index.html", "report.css", "source.js", "stream.js", "think.css", "think.html", "think.js")
SOURCE = '// Written by the export: answers come from the files beside these pages.\nexport * from "./files.js";\n'
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)
FROM_DISK = (
    "These pages load as soon as a web server serves their folder. From a disk, browsers refuse to run them: "
    "<code>python -m http.server --directory FOLDER</code> is server enough."
)


def export(catalogue: Any, out: Path) -> Path:
    """Write the site of a catalogue; the folder is whole or not there, and the same catalogue gives the same bytes.

    Args:
        catalogue: what ``monoscope.open_catalogue`` returns.
        out: the folder; one that an earlier export wrote is replaced, when the new one is whole.

    Raises:
        MonoscopeError: the folder holds something else, or cannot be written.
    """
    with folder.renewing(out, KIND, {"format": FORMAT}) as partial:
        (partial / "data").mkdir()
        _data(catalogue, partial / "data")
        _pages(partial)
    return out


def _data(catalogue: Any, data: Path) -> None:
    """Write everything under ``data/``."""
    features, passages = PackWriter(data / "features"), Passages(catalogue)
    rows: dict[str, list[Any]] = {}
    with bar("writing the site", len(catalogue), unit="features") as report:
        for feature in range(len(catalogue)):
            found = record(catalogue, feature)
            for group in found["groups"]:
                for example in group["examples"]:
                    passages.want(example["document"], example["position"])
            features.add(found)
            for name, value in payloads.row(catalogue, feature).items():
                rows.setdefault(name, []).append(value)
            report(1)
    text = PackWriter(data / "text")
    passages.write(text)
    packs = {"features": features.close(), "text": text.close()}
    table = {"rows": rows, "concepts": catalogue.features["label_concept"].tolist()}
    loose = {"table.bin": encode(table), "text/documents.bin": passages.index()}
    digest = hashlib.sha256(features.digest.digest() + text.digest.digest())
    for name, content in loose.items():
        (data / name).write_bytes(content)
        digest.update(content)
    facts = {
        "format": FORMAT,
        "version": digest.hexdigest()[:16],
        "wide": WIDE,
        "block": BLOCK,
        "packs": packs,
        "overview": payloads.overview(catalogue),
        "best": payloads.best(catalogue, BEST),
    }
    folder.write_json(data / "site.json", facts)


def _pages(out: Path) -> None:
    """Write ``index.html`` and ``static/``."""
    (out / "static").mkdir()
    for path in STATIC.iterdir():
        if path.name not in LEFT_OUT:
            shutil.copyfile(path, out / "static" / path.name)
    (out / "static" / "source.js").write_text(SOURCE, encoding="utf-8")
    page = _index((STATIC / "index.html").read_text(encoding="utf-8"))
    (out / "index.html").write_text(modules.named(page, out / "static"), encoding="utf-8")


def _index(page: str) -> str:
    """The page with addresses that hold under any path, the policy a server would send, and a word for the disk."""
    page = re.sub(r'(href|src)="/static/', r'\1="static/', page)
    page = re.sub(r'href="/([^"]*)"', r'href="?/\1"', page)
    page = page.replace(
        '<meta charset="utf-8">',
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
    )
    return re.sub(r'(<main id="page"[^>]*>)', rf'\1<p class="none">{FROM_DISK}</p>', page)
