"""Catalogues in the JSONL layout that Neuronpedia imports, written and read.

``{model}/{layer}-{set}/`` holds ``release.jsonl``, ``model.jsonl``, ``sourceset.jsonl``, ``source.jsonl``, and gzipped
JSON lines in ``features/``, ``activations/`` and ``explanations/``, a file ``batch-N.jsonl.gz`` for every so many
features. Its ``layer`` is what we call a site with its dictionary, its ``index`` a feature.
"""
