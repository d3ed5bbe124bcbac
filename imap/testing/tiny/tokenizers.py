"""Small fast tokenizers from a word list. Common words are one token, other words several; any string works."""

import re
import string
from collections.abc import Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

# Words of typical prompts. "ball" is one token, "balls" two, "kangaroo" several.
WORDS = """
a an the and or of in on at to by from with over under into across through behind down up is are as its
man woman boy girl child person people hand face dog cat horse bird fish bear lion rabbit fox cow elephant
ball car truck train boat ship plane bicycle robot balloon flag leaf wave cloud candle pendulum wheel door box
tree grass field forest mountain river lake sea ocean beach sand snow rain fire smoke water sky sun moon
city street road bridge house park room table floor wall window garden kitchen hill desert night day
roll rolling rolls run running runs walk walking walks jump jumping jumps fly flying flies swim swimming fall falling
dance dancing spin spinning turn turning move moving moves swing swinging bounce bouncing slide sliding ride riding
float floating drive driving throw throwing catch kick play playing wag open close left right toward away slowly fast
red green blue yellow orange white black brown pink golden small big large little old young happy bright dark
"""

# Every word of HunyuanVideoPipeline's template is one token. So the text before the prompt has 95 tokens, as with the
# published tokenizer. The pipeline cuts off these tokens (`crop_start`).
TEMPLATE_WORDS = """
system user Describe the video by detailing following aspects The main content and theme of color shape size texture
quantity text spatial relationships objects Actions events behaviors temporal physical movement changes background
environment light style atmosphere camera angles movements transitions used in
"""

SYLLABLES = """
al an ar as at be ca ch co de di ed en er es et fo ing in ion is it ke la le li lo ly ma me mo na ne on or ou pa pe
po ra re ri ro sa se sh si st ta te th ti to tion ty un us ve wa ck ll ee oo ss tt
"""

# Log probabilities of pieces. One word beats any split of it, and one syllable beats its letters.
WORD_SCORE, SYLLABLE_SCORE, LETTER_SCORE = -5.0, -8.0, -10.0


def sentencepiece(words: str = WORDS) -> PreTrainedTokenizerFast:
    """Tokenizer like those of T5 and UMT5: pieces with "▁", `<pad>` 0, `</s>` 1 at the end, `<unk>` 2.

    Args:
        words: Words separated by white space; each is one token.
    """
    whole = [f"▁{form}" for form in _forms(words)]
    letters = ["▁", *string.ascii_letters, *string.digits, *string.punctuation]
    tokenizer = _unigram(["<pad>", "</s>", "<unk>"], whole, letters, space="▁", unk_id=2)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    return _ready(tokenizer, "$A </s>", 512, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def llama(words: str = WORDS) -> PreTrainedTokenizerFast:
    """Tokenizer like that of Llama 3: bytes, `<|begin_of_text|>` at the start, `<pad>` on the right.

    HunyuanVideoPipeline's template before the prompt has 95 tokens for every prompt.

    Args:
        words: Words separated by white space; each is one token.
    """
    specials = {"pad_token": "<pad>", "bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
    marks = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = _bytes([*specials.values(), *marks], words + TEMPLATE_WORDS)
    return _ready(tokenizer, "<|begin_of_text|> $A", 512, **specials)


def llava(words: str = WORDS) -> PreTrainedTokenizerFast:
    """Tokenizer like that of Llava with Llama 3: as `llama`, with `<image>` for a picture.

    HunyuanVideoImageToVideoPipeline's template before the prompt has 103 tokens, the picture one of them. A pair of
    line breaks has the number 271, by which diffusers 0.35 finds the prompt's end.

    Args:
        words: Words separated by white space; each is one token.
    """
    specials = {"pad_token": "<pad>", "bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
    marks = [*specials.values(), "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>"]
    vocabulary = f"{words} {TEMPLATE_WORDS} according reference image assistant"
    return _ready(_bytes(marks, vocabulary, breaks=271), "<|begin_of_text|> $A", 2048, **specials)


def gemma(words: str = WORDS) -> PreTrainedTokenizerFast:
    """Tokenizer like that of Gemma 3: `<bos>` at the start, no end token, `<pad>` on the left.

    Args:
        words: Words separated by white space; each is one token.
    """
    specials = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}
    tokenizer = _ready(_bytes([*specials.values()], words), "<bos> $A", 1024, **specials)
    tokenizer.padding_side = "left"
    return tokenizer


def qwen(words: str = WORDS) -> PreTrainedTokenizerFast:
    """Tokenizer like that of Qwen 2.5: bytes, no token around a text, a chat template, padding on the right.

    Args:
        words: Words separated by white space; each is one token.
    """
    specials = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    tokenizer = _ready(_bytes([*specials.values(), "<|im_start|>"], words), "$A", 4096, **specials)
    turn = "<|im_start|>{{ m.role }}\n{% for c in m.content %}{{ c.text }}{% endfor %}<|im_end|>\n"
    tokenizer.chat_template = f"{{% for m in messages %}}{turn}{{% endfor %}}"
    return tokenizer


def qwen_vl(words: str = WORDS, joined: str = 8 * " ") -> PreTrainedTokenizerFast:
    """Tokenizer like that of Qwen 2.5-VL: as `qwen`, with a string that is one token and a chat of plain texts.

    HunyuanVideo15Pipeline's chat before the prompt has 108 tokens, as with the published tokenizer.

    Args:
        words: Words separated by white space; each is one token.
        joined: Characters that are one token together.
    """
    specials = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    marks = [*specials.values(), "<|im_start|>"]
    vocabulary = f"{words} {TEMPLATE_WORDS} You helpful assistant"
    tokenizer = _ready(_bytes(marks, vocabulary, joined), "$A", 4096, **specials)
    turn = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    start = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    tokenizer.chat_template = f"{{% for m in messages %}}{turn}{{% endfor %}}{start}"
    return tokenizer


def clip(words: str = WORDS) -> PreTrainedTokenizerFast:
    """Tokenizer like that of CLIP: lower case, `<|startoftext|>` ... `<|endoftext|>`, padded with the latter to 77."""
    # The end token must not be number 2. CLIPTextModel would assume an old config and pool at another position.
    tokenizer = _bytes(["<|startoftext|>", "<|endoftext|>"], words)
    tokenizer.normalizer = normalizers.Lowercase()
    specials = {"pad_token": "<|endoftext|>", "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    return _ready(tokenizer, "<|startoftext|> $A <|endoftext|>", 77, **specials)


def _bytes(specials: list[str], words: str, joined: str = "", breaks: int | None = None) -> Tokenizer:
    """Tokenizer over bytes, which has tokens for every text.

    joined: characters that are one token together. breaks: number of the token of two line breaks; None puts it after
    the words.
    """
    # The byte alphabet writes a space as "Ġ" and a line break as "Ċ".
    pieces = list(dict.fromkeys(start + form for form in _forms(words) for start in ("", "Ġ")))
    pieces.insert(len(pieces) if breaks is None else breaks - len(specials), "ĊĊ")
    pieces += [joined.replace(" ", "Ġ").replace("\n", "Ċ")] if joined else []
    tokenizer = _unigram(specials, pieces, sorted(pre_tokenizers.ByteLevel.alphabet()), space="Ġ", unk_id=None)
    # Pairs of line breaks are separate pieces. So a prompt that starts with white space does not merge with the
    # template before it. A digit is separate from the space before it, as in Llama 3.
    pattern = r"\n\n| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]|\s"
    pattern = f"{re.escape(joined)}|{pattern}" if joined else pattern
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _forms(words: str) -> Iterator[str]:
    """Each word unchanged, then with a capital."""
    for word in words.split():
        yield from (word, word.capitalize())


def _unigram(specials: list[str], words: list[str], letters: list[str], *, space: str, unk_id: int | None) -> Tokenizer:
    """Tokenizer that splits a word into the pieces of highest total score; ids follow the order of the lists."""
    # A piece at a word's start includes the space. Else every rare word would start with a space token.
    syllables = [start + syllable for start in (space, "") for syllable in SYLLABLES.split()]
    letters = [*(space + letter for letter in string.ascii_letters), *letters]
    scores = [(specials, 0.0), (words, WORD_SCORE), (syllables, SYLLABLE_SCORE), (letters, LETTER_SCORE)]
    vocabulary: dict[str, float] = {}
    for pieces, score in scores:
        for piece in pieces:
            vocabulary.setdefault(piece, score)
    tokenizer = Tokenizer(models.Unigram(list(vocabulary.items()), unk_id=unk_id))
    tokenizer.add_special_tokens([AddedToken(special, special=True, normalized=False) for special in specials])
    return tokenizer


def _ready(tokenizer: Tokenizer, template: str, max_length: int, **specials: str) -> PreTrainedTokenizerFast:
    """Tokenizer as a transformers object; `template` names the tokens around a text "$A"."""
    around = [(token, tokenizer.token_to_id(token)) for token in template.split() if token != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=around)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
        **specials,
    )
