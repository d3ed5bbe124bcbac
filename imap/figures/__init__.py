"""The paper's figures and analyses, of any model that this package reads: python -m imap.figures NAME"""
