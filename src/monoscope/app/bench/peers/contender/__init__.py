"""Train one dictionary with another library, on rows from a file, under a Python that has that library.

Nothing here imports Monoscope, so that the other libraries' environment needs none of it; with the folder that this one
lies in on the path:

    python -m contender check
    python -m contender LIBRARY:KIND ROWS.npy SETTING

``check`` prints the versions of the libraries that are installed. SETTING is JSON, see ``run.run``. Lines of JSON are
printed: progress, and last the result. Every library has its own recipe (the file of its name), but for the learning
rate and its schedule: warm-up over 5 %, decay to 0 over the last 20 %. Reading rows is not timed.
"""
