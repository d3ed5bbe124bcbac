"""The paper's figures and analyses, of any model that imap reads: `imap figures NAME`."""

FIGURES = {  # name of a module here, and what it draws
    "teaser": "IMAP strips of motion words",
    "methods": "every map side by side",
    "timesteps": "a word's map from the noisiest step to the last",
    "lambda_2": "lambda_2 by layer, the layers that it picks, maps of the lowest and the highest",
    "qk_matching": "how well each patch answers a word, with the best one",
    "heads": "CHI against localization, head by head",
    "separability": "IMAP by separability score and number of heads",
    "runtime": "seconds by stage",
}
