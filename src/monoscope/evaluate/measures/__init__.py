"""The measures of a dictionary, one a file: the name of the file is the name of the measure."""
