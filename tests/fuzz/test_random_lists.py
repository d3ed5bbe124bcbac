"""Lists of samples, drawn at random: refused in one line, or read as they are written."""

import json
from functools import partial

from hypothesis import strategies as st

from imap.config.sample_lists import KEYS, read_list
from tests.fuzz.values import accepted, fuzzed, nested, scalars, search, texts

plain = st.one_of(scalars.filter(lambda x: not isinstance(x, bytes)), st.just(nested(20)))
wrong = st.recursive(plain, lambda x: st.lists(x, max_size=3) | st.dictionaries(texts, x, max_size=2), max_leaves=4)
entry = st.fixed_dictionaries(
    {"caption": texts, "concepts": st.one_of(texts, st.lists(texts, max_size=3))},
    optional={"object": texts, "video_path": texts, "camera": plain, "motion_idx": plain},
)


@st.composite
def faulty(draw):
    """An entry with one field that may be anything, under a key that may be another."""
    return {**draw(entry), draw(st.sampled_from(KEYS) | texts): draw(wrong)}


documents = st.one_of(st.lists(st.one_of(entry, faulty()), max_size=3), wrong)
broken = st.one_of(texts, st.sampled_from(["[" * 10**5, '{"a":' * 10**5, "[1e999]", "[NaN]", "\ufeff[]", "nul", "[]x"]))


def words(value):
    """Words of a field, as a reader of the list takes them."""
    if isinstance(value, str):
        inside = value.strip()
        inside = inside[1:-1] if inside[:1] == "[" and inside[-1:] == "]" and len(inside) > 1 else inside
        value = [word.strip() for word in inside.split(",")] if inside.strip() else []
        value = [x[1:-1] if len(x) > 1 and x[0] == x[-1] and x[0] in "'\"" else x for x in value]
    return tuple(" ".join(word.split()) for word in value or ())


@fuzzed(0.25)
def test_a_list_is_refused_or_read_as_it_is_written(examples, tmp_path):
    path = tmp_path / "list.json"

    def check(document, with_video):
        try:
            path.write_text(json.dumps(document))
            document = json.loads(path.read_text())  # two halves of a character are one
        except ValueError:  # an integer of more digits than Python writes
            return
        samples = accepted(partial(read_list, path, with_video=with_video), "input_json")
        for sample, given in zip(samples, document, strict=True) if samples else ():
            assert sample.prompt == given["caption"].strip()
            assert (sample.concepts, sample.motions) == (words(given["concepts"]), words(given.get("object")))
            assert not with_video or str(sample.video_path).endswith(given["video_path"].rstrip("/.") or "/")

    search(examples, check, documents, st.booleans())


@fuzzed(0.05)
def test_a_file_that_is_no_list(examples, tmp_path):
    path = tmp_path / "list.json"

    def check(text):
        path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
        assert accepted(partial(read_list, path), "input_json") is None

    search(examples, check, st.binary(max_size=20) | broken)
