"""Serving a model to programs that speak OpenAI's protocol, steered and watched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from monoscope.app.verbs._checked import Port


def serve(
    model: str,
    *,
    run: Path | None = None,
    watch: Path | None = None,
    record: Path | None = None,
    audit: Path | None = None,
    shadow: bool = False,
    alert: str = "",
    steer: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    name: str = "",
    host: str = "127.0.0.1",
    port: Port = 8477,
    token: str = "",
    slots: int = 64,
    waiting: int = 256,
    longest: int | None = None,
    device: str = "cpu",
    browser: bool = False,
) -> None:
    """Serve a model to programs that speak OpenAI's protocol, steered and with its features on each token; and a page.

    Example: `monoscope serve reference-a --run monoscope-run --watch rules.toml --steer calm.toml`

    Parameters
    ----------
    model
        A packaged model, a folder or a Hugging Face id.
    run
        A run of this model: its dictionary's features are told, with their labels.
    watch
        Rules by which all that is read and written is watched; alarms are told with their tokens.
    record
        A new folder into which every token is recorded, with the codes of the rules' dictionaries.
    audit
        A file to which every alarm and what followed from it are appended.
    shadow
        Alarms are told, but nothing that the model says is changed by them.
    alert
        The address to which alarms of rules with the action alert are sent.
    steer
        A recipe that requests may name: FILE, or NAME=FILE. Repeat it for more.
    name
        What requests call the model; by default the last part of its name.
    host
        Where to listen; the server answers to loopback names and to this one.
    port
        The first port to try.
    token
        What every request must carry as a bearer token; by default a new one, or that in MONOSCOPE_TOKEN.
    slots
        Sequences that run at once.
    waiting
        Sequences that may wait for a slot; more are told to try again.
    longest
        New tokens that one request may ask for; by default what the model's context holds.
    device
        Where the model runs.
    browser
        Open the page in a browser.
    """
    import os
    import secrets

    from monoscope.app import serving
    from monoscope.app.run import Run
    from monoscope.app.ui import server
    from monoscope.errors import MonoscopeError
    from monoscope.models import load_model
    from monoscope.serve.engine import Limits
    from monoscope.watch import rules

    for what, number in (("slots", slots), ("waiting", waiting), ("longest", 1 if longest is None else longest)):
        if number < 1:
            raise MonoscopeError(f"--{what} {number} leaves room for nothing", fix="give a number from 1")
    if watch is None and (record is not None or audit is not None or shadow):
        raise MonoscopeError("nothing is watched, so there is nothing to record", fix="give --watch RULES")
    recipes = serving.named_recipes(steer or [])
    watched = None if watch is None else serving.Watched(rules.load(watch), record, audit, shadow, alert)
    opened = None if run is None else Run(run)
    lm = load_model(model, device=device)
    called = name or lm.name.rsplit("/", 1)[-1]
    made = serving.service(serving.Served(lm, called, opened, recipes, watched, Limits(slots, waiting), longest))
    secret = token or os.environ.get("MONOSCOPE_TOKEN") or secrets.token_urlsafe(24)
    server.serve(
        serving.application(made, secret, host), host=host, port=port, open_browser=browser, token=secret, api="/v1"
    )
