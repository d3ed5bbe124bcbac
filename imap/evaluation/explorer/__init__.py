"""Scores of a run to look at: a page of all words and clips, and mean curves as figures."""
