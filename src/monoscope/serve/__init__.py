"""An OpenAI-compatible server over a ``transformers`` model that is steered and watched as it answers.

``engine`` runs the model, in one thread, for all requests at once; ``api`` speaks OpenAI's protocol on top of it.
Wiring (the recipes, the run, the guard, the page) is ``app.serving``'s.
"""
