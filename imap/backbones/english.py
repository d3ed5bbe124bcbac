"""English inflection: whether two words are forms of one word, as "flying" and "flies" are."""

from functools import cache
from itertools import product

import simplemma

VOWELS = "aeiou"
SIBILANTS = ("s", "x", "z", "ch", "sh")
# a plural in -ves whose verb form the dictionary prefers ("leaves" of "leave")
VES = {"calf", "elf", "half", "hoof", "knife", "leaf", "life", "loaf", "scarf", "self", "sheaf", "shelf", "thief"}
VES |= {"dwarf", "wharf", "wife", "wolf"}
# nouns that look like a form of another word and are not
NO_FORMS = {"bedding", "being", "building", "ceiling", "clothing", "evening", "gelding", "herring", "housing"}
NO_FORMS |= {"lighting", "lightning", "meaning", "morning", "pudding", "shilling", "sling", "sterling", "wedding"}


def same_word(one: str, other: str) -> bool:
    """Whether two lower-case words are forms of one word.

    They are if simplemma's dictionary gives both one base form, or if the rules of spelling lead from one base form to
    both. The dictionary has the last word ("news" is no form of "new"), but for -ing: it lists "burning" on its own.
    """
    if one == other:
        return True
    if not NO_FORMS.isdisjoint((one, other)):
        return one.removesuffix("s") == other.removesuffix("s")
    if lemma(one) == lemma(other):
        return True
    bases = {base for base in (one, other, lemma(one), lemma(other)) if len(base) > 2}
    return any(_is_form(one, base) and _is_form(other, base) for base in bases)


def _is_form(word: str, base: str) -> bool:
    return word == base or (word in forms(base) and (word.endswith("ing") or lemma(word) != word))


@cache
def lemma(word: str) -> str:
    """Base form of a word in simplemma's dictionary."""
    return simplemma.lemmatize(word, lang="en")


@cache
def forms(base: str) -> frozenset[str]:
    """A base form and its regular inflections: -s, -ed and -ing by the rules of English spelling."""
    if len(base) < 2 or not base.isalpha():
        return frozenset({base})
    found = {base, *_with_s(base)}
    found |= {stem + ending for stem, ending in product(_stems(base), ("ed", "ing"))}
    if base.endswith("ie"):
        found |= {base + "d", base[:-2] + "ying"}
    elif base.endswith("e"):
        found |= {base + "d", (base if base[-2] in "eoy" else base[:-1]) + "ing"}
    elif _ends_in_consonant_y(base):
        found |= {base[:-1] + "ied", base + "ing"}
    return frozenset(found)


def _with_s(base: str) -> set[str]:
    if base in VES:
        return {base.rstrip("ef") + "ves"}
    if _ends_in_consonant_y(base):
        return {base[:-1] + "ies"}
    if base.endswith(SIBILANTS):
        return {base + "es"}
    return {base + "s", base + "es"} if base.endswith("o") else {base + "s"}


def _stems(base: str) -> set[str]:
    """What -ed and -ing follow: the base form, with a last consonant doubled after one short vowel."""
    if base.endswith("e") or _ends_in_consonant_y(base):
        return set()
    if base.endswith("c"):
        return {base + "k"}
    syllables = sum(x in VOWELS and (i == 0 or base[i - 1] not in VOWELS) for i, x in enumerate(base))
    short = base[-2] in VOWELS and base[-1] not in VOWELS + "wxy"
    if len(base) > 2 and base[-3] in VOWELS and base[-4:-1] != "qui":
        short = False
    doubled = {base + base[-1]} if short else set()
    return doubled if doubled and syllables <= 1 and len(base) > 2 else doubled | {base}


def _ends_in_consonant_y(base: str) -> bool:
    return base.endswith("y") and base[-2] not in VOWELS
