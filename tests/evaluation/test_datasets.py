"""Data sets in their layouts: what an entry is, that its masks are those of the file, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from imap import ImapError
from imap.evaluation.datasets import NAMES, entries
from imap.evaluation.datasets.entry import Options
from imap.evaluation.datasets.words import read_words
from imap.media.truth import Truth, write_truth
from tests.evaluation import layouts

TAKEN = [0, 2, 5]
WRITE = {name: getattr(layouts, name.replace("-", "_")) for name in NAMES if name != "world"}


def listed(name, root, **options):
    return list(entries(name, root, Options(**options)))


def same(found, expected):
    np.testing.assert_array_equal(found, expected)


def test_mevis_has_an_entry_per_expression_and_its_objects(tmp_path):
    pytest.importorskip("pycocotools")
    one, both, none = listed("mevis", layouts.mevis(tmp_path))
    assert [one.name, both.name, none.name] == ["0a1b-0", "0a1b-1", "0a1b-2"]
    assert one.words.motions == ("A square moving right, then on",) and one.words.concepts == ()
    clip = one.clip()
    assert clip.shape == (13, 32, 48, 3) and clip.times is None
    assert layouts.numbers_of(clip.pick(TAKEN)) == TAKEN
    same(one.truth(TAKEN).masks, layouts.square()[TAKEN][None])
    truth = both.truth(TAKEN)
    same(truth.masks, np.stack([layouts.square()[TAKEN], layouts.bar()[TAKEN]]))
    same(truth.of("both things"), layouts.square()[TAKEN] | layouts.bar()[TAKEN])
    assert not truth.masks[1, 0].any() and truth.masks[1, 1].sum() == 6 * 48  # null in mask_dict.json: not seen


def test_an_expression_of_no_object_has_an_empty_truth(tmp_path):
    pytest.importorskip("pycocotools")
    *_, none = listed("mevis", layouts.mevis(tmp_path, "meta_expressions_v2.json"))
    truth = none.truth(TAKEN)
    assert none.facts["no_target"] and truth.masks.shape == (1, 3, 32, 48) and not truth.masks.any()
    assert truth.of("a cat that jumps").shape == (3, 32, 48)


def test_mevis_without_published_masks_has_no_truth(tmp_path):
    found = listed("mevis", layouts.mevis(tmp_path), split="valid", source_fps=6)
    assert [entry.truth for entry in found] == [None] * 3
    assert found[0].clip().times[:3] == (0, 1 / 6, 2 / 6) and found[0].clip().times[-1] == 13 / 6


def test_words_of_a_csv_name_the_objects_and_their_motions(tmp_path):
    pytest.importorskip("pycocotools")
    path = tmp_path / "words.csv"
    path.write_text('caption,concepts,object\n"a SQUARE moving right, then on.","box, floor","moving, sliding"\n')
    one, both, _ = listed("mevis", layouts.mevis(tmp_path / "root"), words=read_words(path))
    assert one.words.concepts == ("box", "floor") and one.words.motions == ("moving", "sliding")
    assert both.words.motions == ("both things",)
    truth = one.truth(TAKEN)
    assert truth.of("floor") is None and truth.nouns == ["box", ""]
    for word in ("box", "moving", "sliding"):
        same(truth.of(word), layouts.square()[TAKEN])


def test_a_list_of_the_release_takes_the_place_of_the_expressions(tmp_path):
    pytest.importorskip("pycocotools")
    path = tmp_path / "list.json"
    one = {"caption": "A square moving right, then on.", "concepts": "square", "object": "moving"}
    two = {"caption": "A new sentence.", "concepts": "bar", "object": "staying"}
    lines = [
        x | {"video_path": f"Videos_49/{name}.mp4"} for x, name in ((one, "0a1b_1"), (two, "0a1b_2"), (two, "ff_1"))
    ]
    path.write_text(json.dumps(lines))
    first, second = listed("mevis", layouts.mevis(tmp_path / "root"), words=read_words(path))
    assert [first.name, second.name] == ["0a1b_1", "0a1b_2"] and second.truth is None
    assert first.words.concepts == ("square",)
    same(first.truth(TAKEN).of("moving"), layouts.square()[TAKEN])


def test_vspw_has_a_thing_per_class_and_void_pixels(tmp_path):
    (entry,) = listed("vspw", layouts.vspw(tmp_path))
    truth = entry.truth(TAKEN)
    assert entry.name == "12_ab" and entry.words is None and truth.nouns == ["door", "traffic light"]
    last = np.zeros((32, 48), bool)
    last[-1] = True
    same(truth.of("traffic light"), layouts.square()[TAKEN])
    same(truth.of("door"), layouts.bar()[TAKEN])
    same(truth.void, last | (layouts.labelled()[TAKEN] == 0))
    assert entry.clip().times[:2] == (0, 1 / 15)


def test_davis_takes_all_objects_for_the_name_of_the_sequence(tmp_path):
    (entry,) = listed("davis", layouts.davis(tmp_path))
    truth = entry.truth(TAKEN)
    assert entry.words.caption == "A video of bike packing." and entry.words.concepts == ("bike packing",)
    same(truth.masks, np.stack([layouts.square()[TAKEN], layouts.bar()[TAKEN]]))
    assert truth.void is None and entry.clip().times[1] == 1 / 24
    assert [entry.name for entry in listed("davis", tmp_path, split="train")] == ["goat"]


def test_ref_davis_has_an_entry_per_line_of_its_sequences(tmp_path):
    one, two, other = listed("ref-davis", layouts.ref_davis(tmp_path))
    assert [one.name, two.name, other.name] == ["bike-packing-1-1", "bike-packing-2-1", "bike-packing-1-2"]
    assert one.words.concepts == ("a square, moving",) and other.words.caption == "a café square"
    same(two.truth(TAKEN).of("a bar below"), layouts.bar()[TAKEN])
    same(other.truth(TAKEN).masks, layouts.square()[TAKEN][None])


def test_ref_youtube_vos_reads_times_from_frame_numbers(tmp_path):
    (entry,) = listed("ref-youtube-vos", layouts.ref_youtube_vos(tmp_path))
    times = entry.clip().times
    assert times[:3] == (0, 5 / 30, 10 / 30) and times[-1] == 13 / 6 and len(times) == 14
    same(entry.truth(TAKEN).of("a square above"), layouts.square()[TAKEN])
    assert listed("ref-youtube-vos", tmp_path, split="valid")[0].truth is None


def test_a_folder_of_masks_numbers_its_words(tmp_path):
    (entry,) = listed("folder", layouts.folder(tmp_path))
    truth = entry.truth(TAKEN)
    assert truth.nouns == ["box", "shelf"] and truth.verbs == ["slides", ""] and entry.motion == "unknown"
    same(truth.of("shelf"), layouts.bar()[TAKEN])
    assert truth.void[:, -1].all() and truth.void.sum() == 3 * 48


def test_a_mask_of_black_and_white_is_one_object(tmp_path):
    root = layouts.folder(tmp_path)
    shutil.rmtree(root / "mine")
    layouts.write_labels(root / "mine", [f"{i:04}" for i in range(13)], layouts.square() * np.uint8(255), palette=False)
    truth = listed("folder", root)[0].truth(TAKEN)
    same(truth.masks, layouts.square()[TAKEN][None])
    assert truth.void is None and truth.nouns == ["box"]


def test_a_truth_file_beside_a_clip_says_when_things_move(tmp_path):
    root, moving = layouts.folder(tmp_path), np.zeros((1, 13), bool)
    moving[0, 2:4] = True
    write_truth(root / "truth-mine.npz", Truth(["box"], ["slides"], layouts.square()[None], moving))
    for name in ("folder", "world"):
        (entry,) = listed(name, root)
        truth = entry.truth(TAKEN)
        assert entry.motion == "data" and truth.moving.tolist() == [[False, True, False]]
        same(truth.masks, layouts.square()[TAKEN][None])


@pytest.mark.parametrize("name", NAMES)
def test_a_root_of_another_layout_is_refused(name, tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(ImapError, match="is not a root of|has no clips.json or list.json"):
        listed(name, tmp_path)
    with pytest.raises(ImapError, match="gone is not a folder"):
        listed(name, tmp_path / "gone")


@pytest.mark.parametrize("name", ["mevis", "vspw", "davis", "ref-davis", "ref-youtube-vos"])
def test_a_split_that_is_not_there_is_refused_with_those_that_are(name, tmp_path):
    root = WRITE[name](tmp_path)
    with pytest.raises(ImapError, match=r"has no split dev; found (train|valid|val).*Set --split"):
        listed(name, root, split="dev")


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def without_object(root):
    changed(root / "valid_u/mask_dict.json", lambda x: x.pop("8"))


def with_fewer_masks(root):
    changed(root / "valid_u/mask_dict.json", lambda x: x["8"].pop())


def of_another_size(root):
    changed(root / "valid_u/mask_dict.json", lambda x: x["7"][0].update(size=[16, 96]))


def without_expression(root):
    changed(root / "valid_u/meta_expressions.json", lambda x: x["videos"]["0a1b"]["expressions"]["0"].pop("exp"))


FAULTS = [
    ("mevis", without_object, "has no masks of the annotation 8"),
    ("mevis", with_fewer_masks, "annotation 8 has 12 masks, and its video has 13 frames"),
    ("mevis", of_another_size, "a mask of 16x96 in frames of 32x48"),
    ("mevis", without_expression, "video 0a1b of .* needs frames and expressions"),
    (
        "mevis",
        lambda root: (root / "valid_u/meta_expressions.json").unlink(),
        "there is no file .*meta_expressions.json",
    ),
    ("mevis", lambda root: (root / "valid_u/JPEGImages/0a1b/00003.jpg").unlink(), "00003.jpg is missing"),
    ("vspw", lambda root: (root / "label_num_dic_final.json").unlink(), "there is no file .*label_num_dic_final.json"),
    ("vspw", lambda root: (root / "data/12_ab/mask/00000005.png").unlink(), "00000005.png is missing"),
    ("vspw", lambda root: shutil.rmtree(root / "data/12_ab/mask"), "has no folder mask, from which its words come"),
    ("vspw", lambda root: changed(root / "label_num_dic_final.json", lambda x: x.pop("door")), "has the class 3"),
    ("davis", lambda root: (root / "ImageSets/2017/val.txt").write_text("\n"), "names no sequence"),
    ("davis", lambda root: shutil.rmtree(root / "Annotations"), "it has no folder Annotations/480p"),
    ("ref-davis", lambda root: shutil.rmtree(root / "davis_text_annotations"), "has no folder davis_text_annotations"),
    (
        "ref-davis",
        lambda root: (root / "davis_text_annotations/Davis17_annot1_full_video.txt").write_text("goat is here\n"),
        "line 1: expected SEQUENCE NUMBER",
    ),
    ("ref-youtube-vos", lambda root: shutil.rmtree(root / "meta_expressions"), "there is no file .*meta_expressions"),
    ("folder", lambda root: (root / "mine/0003.png").unlink(), "has 12 masks, and mine.mp4 has 13 frames"),
    ("folder", lambda root: (root / "clips.json").write_text("[{}]"), "entry 0 needs caption and video_path"),
    ("folder", lambda root: (root / "clips.json").write_text("{"), "is not JSON that can be read"),
]


@pytest.mark.parametrize(("name", "change", "message"), FAULTS)
def test_a_data_set_that_is_not_whole_is_refused_with_what_is_missing(name, change, message, tmp_path):
    pytest.importorskip("pycocotools")
    root = WRITE[name](tmp_path)
    change(root)
    with pytest.raises(ImapError, match=message):
        for entry in listed(name, root):
            entry.clip()
            entry.truth(TAKEN)


def test_a_mask_of_another_size_than_its_frame_is_refused(tmp_path):
    root = layouts.davis(tmp_path)
    layouts.Image.new("L", (8, 16)).save(root / "Annotations/480p/bike-packing/00002.png")
    with pytest.raises(ImapError, match=r"00002.png is 16x8, and 32x48 is expected \(height x width\)"):
        listed("davis", root)[0].truth(TAKEN)


def test_pictures_in_colour_are_no_labels(tmp_path):
    root = layouts.davis(tmp_path)
    shutil.rmtree(root / "Annotations/480p/bike-packing")
    layouts.write_frames(root / "Annotations/480p/bike-packing", [f"{i:05}" for i in range(13)], ".png")
    with pytest.raises(ImapError, match="00000.png is in colour; expected a grey picture"):
        listed("davis", root)[0].truth(TAKEN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("caption,noun\na,b\n", "has the columns caption, noun; expected"),
        ("caption,concepts,object\na dog runs,,\n", "row 1 needs a name or a caption, and words"),
        ("caption,concepts,object\na dog runs,dog,Dog\n", "row 1 has 'Dog' in concepts and in object"),
    ],
)
def test_faulty_words_are_refused(text, message, tmp_path):
    path = tmp_path / "words.csv"
    path.write_text(text)
    with pytest.raises(ImapError, match=message):
        read_words(path)
