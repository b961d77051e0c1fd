"""What follows when a rule is raised or cleared, one kind a file.

A file holds ``class Action(Action)``; its constructor takes the options that rules give it. Settings that say where
something is sent are not options of rules: whoever runs the watch gives them.
"""

PACKAGE = "monoscope.watch.actions"
