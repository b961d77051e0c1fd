"""Ways to test an explanation, one a file.

A scorer is a module with

- ``examine(bench, feature) -> Exam | None``: what is asked of whoever judges an explanation of the feature, and the
  truth. It depends on the feature and on held-out text, never on an explanation; None where the feature does not fire
  often enough to be examined.
- ``ASKS``: the method of a judge that is asked (``contains``, ``marked``, ``levels``, ``promoted``, ``odd``).
- ``CLAIM``: which words are judged: "fires_on", or "promotes" (those on what the feature fires on where none are).
- ``grade(exam, answers, seed) -> Grade``: the value with its interval, and what else the answers say.
- ``CHANCE``: the value of a judge that knows nothing, and ``CONSTANTS``: answers that need no reading, whose value is
  always given as a control.
- ``MODEL``: whether the model itself is run, and ``JUDGE``: "" for the judge that the caller chose, else the only one.

``monoscope.interpret.scoring`` does the rest: it puts the same exam to the same judge with the words of another
feature, to a set of tokens, and to constant answers, so that no value is without its controls.
"""

PACKAGE = "monoscope.interpret.scorers"
