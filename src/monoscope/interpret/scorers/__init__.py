"""Ways to test an explanation, one a file.

A scorer is a module with

- ``examine(bench, feature) -> Exam | None``: what is asked of whoever judges an explanation of the feature, and the
  truth. It depends on the feature and on held-out text, never on an explanation; None where the feature does not fire
  often enough to be examined.
- ``ASKS``: the method of a judge that is asked (``contains``, ``marked``, ``levels``, ``promoted``, ``odd``).
- ``CLAIM``: which words are judged: "fires_on"; "promotes", or where there are none of these what it fires on; "" for
  none.
- ``grade(exam, answers, seed) -> Grade``: the value with its interval, and what else the answers say.
- ``CHANCE``: the value of a judge that knows nothing, and ``CONSTANTS``: answers that need no reading, whose value is
  always given as a control.
- ``question(claim, exam) -> Question``, only where the passages that are shown depend on the claim; else they are the
  exam's.
- ``MODEL``: whether the model itself is run; if so, ``lacks(bench)`` says what is missing for it, "" for nothing.
- ``JUDGE``: the kind of judge that is asked; "" for whichever the caller chose.

``monoscope.interpret.scoring`` does the rest: it puts the same exam to the same judge with the words of another
feature, to a set of tokens, and to constant answers, so that no value is without its controls.
"""

PACKAGE = "monoscope.interpret.scorers"
