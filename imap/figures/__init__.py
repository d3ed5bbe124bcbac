"""Figures and analyses of the paper, for every model that imap traces: `imap figures NAME`."""

FIGURES = {  # module of this folder: what the figure shows
    "teaser": "IMAP strips of motion words",
    "methods": "every map side by side",
    "timesteps": "a word's map from the noisiest step to the last",
    "lambda_2": "lambda_2 by layer, the selected layers, maps of the lowest and the highest layer",
    "qk_matching": "how well each patch matches a word, with the best patch",
    "heads": "CHI against localization, head by head",
    "separability": "IMAP by separability score and number of heads",
    "runtime": "seconds by stage",
}
