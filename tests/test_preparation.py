"""Pages made ready for reading: drawn with a known tilt, turn, size, colour and ruling, and found so."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageStat
from rapidfuzz.distance import Levenshtein

from batches import ocr
from batches.documents import Limits, Look, PageImage, Preparation, load_page
from batches.documents.images import write_page
from batches.documents.kinds import Kind
from batches.documents.measuring import Measured, measure
from batches.documents.preparation import for_engine, stand
from tests.scans import DPI, FONT, LINES, draw, lines_of

AUTO = Look(preparation=Preparation.AUTO)
LONG = [*lines_of(3), *reversed(LINES), *LINES]
WIDE = (1200, 1200)


def measured(image: Image.Image) -> Measured:
    return measure(np.asarray(image))


def read(image: Image.Image, folder: Path, dpi: int | None = DPI, **options) -> ocr.PageResult:
    """The drawn page, from file to text, as a worker reads it."""
    image.save(folder / "scan.png", dpi=(dpi, dpi) if dpi else None)
    chosen = ocr.Options(**options)

    def look(more: int = 0) -> PageImage:
        return load_page(folder / "scan.png", Kind.PNG, 0, folder, Limits(), look=chosen.look(more))

    return ocr.recognise(look(), chosen, engine=ocr.probe(), timeout=60, look_again=look)


def wrong(result: ocr.PageResult, lines: list[str]) -> float:
    """The character error rate."""
    truth = " ".join(lines)
    return Levenshtein.distance(" ".join(result.text.split()), truth) / len(truth)


# ------------------------------------------------------------------ measured


@pytest.mark.parametrize("tilt", [-15, -7.3, -2.4, -0.6, 0, 0.3, 1.7, 4, 9.9, 15])
@pytest.mark.parametrize("turn", [0, 90])
def test_the_tilt_of_lines_is_measured_to_a_tenth_of_a_degree(tilt: float, turn: int):
    """Anticlockwise where it is drawn, clockwise where it is measured."""
    assert measured(draw(LONG, tilt=tilt, size=WIDE, turn=turn)).skew == pytest.approx(-tilt, abs=0.1)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("tilt", [0, 5])
def test_a_turned_page_is_put_on_its_feet(turn: int, tilt: float):
    upright = draw(LONG, tilt=tilt, size=WIDE)
    assert stand(upright.rotate(turn, expand=True), AUTO).rotation == turn


def test_who_says_how_a_page_lies_is_believed():
    page = stand(draw(LONG, size=WIDE, turn=90), Look(180, Preparation.AUTO))
    assert page.rotation == 180


def test_few_letters_leave_doubt_which_way_is_up():
    assert 180 in measured(draw(["12 MAY 1904", "NO 117"], size=(600, 400))).doubts


def test_one_column_is_told_from_two():
    left = draw([line[:22] for line in LONG], size=WIDE)
    two = ImageChops.darker(left, ImageChops.offset(left, 560, 0))
    assert measured(two).columns
    assert not measured(draw(LONG, size=WIDE)).columns


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (40, 40), (1500, 1500)])
@pytest.mark.parametrize("kind", ["white", "black", "noise", "stripes"])
def test_whatever_is_on_a_page_can_be_measured_and_prepared(size: tuple[int, int], kind: str):
    """Pages of nothing, or of what is no text, are no reason to stop."""
    width, height = size
    pixels = {
        "white": np.full((height, width), 255),
        "black": np.zeros((height, width)),
        "noise": np.random.default_rng(1).integers(0, 256, (height, width)),
        "stripes": np.indices((height, width))[0] % 8 * 36,
    }[kind]
    page = stand(Image.fromarray(pixels.astype(np.uint8)), AUTO)
    for preparation in (Preparation.AUTO, Preparation.FADED):
        seen = for_engine(page, preparation, None)
        assert seen.gray.size > 0
        assert seen.scale > 0


# ------------------------------------------------------------------ read


@pytest.mark.parametrize(("tilt", "turn"), [(10, 0), (-4, 90), (14, 180), (-0.7, 270)])
def test_a_tilted_and_turned_page_reads_as_a_straight_one(tmp_path: Path, tilt: float, turn: int):
    straight = read(draw(LONG, size=WIDE), tmp_path)
    result = read(draw(LONG, tilt=tilt, turn=turn, size=WIDE), tmp_path)
    assert wrong(result, LONG) <= wrong(straight, LONG) + 0.01
    assert result.rotation == turn
    assert result.skew == pytest.approx(-tilt, abs=0.1)


@pytest.mark.parametrize(("tilt", "turn"), [(0, 0), (5, 90), (-8, 180)])
def test_boxes_are_those_of_the_page_that_people_see(tmp_path: Path, tilt: float, turn: int):
    """There is ink in each word's box, and hardly any beside the words."""
    result = read(draw(LONG, tilt=tilt, turn=turn, size=WIDE), tmp_path)
    with Image.open(tmp_path / "page.jpg") as image:
        assert image.size == (result.width, result.height)
        shown = image.convert("L")
    pen = ImageDraw.Draw(shown)
    for word in result.words:
        box = word.left, word.top, word.left + word.width, word.top + word.height
        assert shown.crop(box).getextrema()[0] < 120, word  # type: ignore[operator]
        pen.rectangle((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), fill=255)
    assert (np.asarray(shown) < 120).mean() < 0.0005


def test_a_coarse_scan_is_read_in_its_own_pixels(tmp_path: Path):
    """75 dpi: the engine sees it larger, boxes are of the page as it came."""
    small = draw(LONG, size=WIDE).resize((450, 450), Image.Resampling.LANCZOS)
    result = read(small, tmp_path, dpi=75)
    assert wrong(result, LONG) < 0.03
    assert (result.width, result.height) == (450, 450)
    assert max(word.left + word.width for word in result.words) <= 450


@pytest.mark.parametrize("dpi", [None, 72, 1200])
def test_a_missing_or_absurd_resolution_does_no_harm(tmp_path: Path, dpi: int | None):
    assert wrong(read(draw(LONG, size=WIDE), tmp_path, dpi=dpi), LONG) < 0.01


def test_light_letters_on_dark_paper_are_read(tmp_path: Path):
    result = read(ImageChops.invert(draw(LONG, size=WIDE)), tmp_path)
    assert wrong(result, LONG) < 0.01


def test_the_scanners_dark_bed_is_no_part_of_the_page(tmp_path: Path):
    bed = Image.new("L", (1700, 1800), 12)
    bed.paste(draw(LONG, size=WIDE), (350, 420))
    result = read(bed, tmp_path)
    assert wrong(result, LONG) < 0.01
    first = result.words[0]
    assert first.left == pytest.approx(430, abs=15)
    assert first.top == pytest.approx(510, abs=15)


def test_a_shadow_over_the_page_does_no_harm(tmp_path: Path):
    shadow = Image.linear_gradient("L").resize(WIDE).point(lambda level: 70 + level * 185 // 255)
    assert wrong(read(ImageChops.multiply(draw(LONG, size=WIDE), shadow), tmp_path), LONG) < 0.02


def test_pale_ink_on_stained_paper_is_read_by_what_is_for_it(tmp_path: Path):
    pale = draw(LONG, size=WIDE, blur=0.8).point(lambda level: 205 + level * 30 // 255)
    stain = Image.radial_gradient("L").resize(WIDE).point(lambda level: 120 + level * 135 // 255)
    page = ImageChops.multiply(pale, stain)
    assert wrong(read(page, tmp_path, preparation=Preparation.FADED), LONG) < 0.03


def test_ruled_paper_is_read_as_if_it_were_plain(tmp_path: Path):
    lines = lines_of(3)
    card = draw(lines, size=(1100, 700), tilt=0)
    pen = ImageDraw.Draw(card)
    for y in range(56, 700, 60):
        pen.line((0, y, 1100, y), fill=130, width=2)
    assert (
        wrong(read(card.rotate(2, fillcolor=250, resample=Image.Resampling.BICUBIC), tmp_path), lines) < 0.03
    )


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_card_of_few_letters_is_read_whichever_way_it_lies(tmp_path: Path, turn: int):
    """Too few to measure which way is up: the reading tells."""
    lines = ["Nordstrand, Tyskland", "8. sept. 1974"]
    result = read(draw(lines, size=(800, 500), turn=turn), tmp_path, segmentation=ocr.Segmentation.CARD)
    assert wrong(result, lines) < 0.1
    assert result.rotation == turn


def test_what_was_turned_because_of_its_reading_says_so(tmp_path: Path):
    result = read(draw(["an ocean of rum"], size=(600, 300), turn=180), tmp_path)
    assert result.text.strip() == "an ocean of rum"
    assert result.note == "The page was turned, because the first reading gave little."


def test_capitals_are_read_on_their_feet(tmp_path: Path):
    """They seem to stand on their head: nothing of them reaches down. The reading tells."""
    capitals = [line.upper() for line in LONG]
    result = read(draw(capitals, size=(1500, 1200)), tmp_path)
    assert wrong(result, capitals) < 0.03
    assert result.rotation == 0


def test_of_other_scripts_nothing_is_made_of_what_reaches_up_and_down():
    russian = [
        "приходская книга церкви святой",
        "марии записывает во втором томе",
        "имена сорока семи семей",
    ] * 4
    assert stand(draw(russian, size=WIDE), ocr.Options(languages=("rus",)).look()).rotation == 0


@pytest.mark.parametrize("letter", [300, 90])
def test_a_page_of_few_large_letters_is_not_blank(tmp_path: Path, letter: int):
    image = Image.new("L", (900, 600), 250)
    ImageDraw.Draw(image).text((100, 100), "A 1", fill=20, font=ImageFont.truetype(FONT, letter))
    assert read(image, tmp_path).text.startswith("A")


def test_two_cards_on_one_bed_are_both_read(tmp_path: Path):
    bed = Image.new("L", (2500, 1000), 12)
    bed.paste(draw(lines_of(1), size=(1000, 700)), (100, 150))
    bed.paste(draw(lines_of(2), size=(1000, 700)), (1350, 150))
    text = read(bed, tmp_path).text
    assert "Page number 1" in text
    assert "Page number 2" in text


def test_a_white_title_on_a_dark_banner_is_read(tmp_path: Path):
    page = draw(LONG, size=WIDE)
    banner = Image.new("L", (1200, 300), 15)
    ImageDraw.Draw(banner).text(
        (80, 110), "REGISTER OF SAINT MARY", fill=250, font=ImageFont.truetype(FONT, 60)
    )
    whole = Image.new("L", (1200, 1500), 250)
    whole.paste(banner, (0, 0))
    whole.paste(page, (0, 300))
    assert "REGISTER OF SAINT MARY" in read(whole, tmp_path).text


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_the_paper_is_cut_out_whichever_way_the_page_lies(turn: int):
    """Its sides are not whole pixels of the small copy that is measured."""
    bed = Image.new("L", (2482, 3507), 12)
    bed.paste(draw(LONG, size=(2482, 3000)), (0, 437))
    page = stand(bed.rotate(turn, expand=True), AUTO)
    seen = for_engine(page, Preparation.AUTO, None)
    assert sorted(seen.gray.shape) == [pytest.approx(2482, abs=60), pytest.approx(3000, abs=60)]


def test_another_look_that_fails_costs_nothing(tmp_path: Path, shim, monkeypatch):
    """The reading that there is stays, and so does the page's image."""
    script = f'[ -e {tmp_path}/ran ] && exit 1; touch {tmp_path}/ran; exec $REAL "$@"'
    monkeypatch.setenv("PATH", f"{shim(script)}{os.pathsep}{os.environ['PATH']}")
    result = read(draw(["formol"], size=(600, 300), turn=180), tmp_path)
    assert result.rotation == 0
    assert result.text
    with Image.open(tmp_path / "page.jpg") as shown, Image.open(tmp_path / "scan.png") as scanned:
        assert ImageStat.Stat(ImageChops.difference(shown.convert("L"), scanned)).mean[0] < 3


def test_a_page_that_is_to_be_left_alone_is_left_alone(tmp_path: Path):
    image = draw(LONG, tilt=3, size=WIDE)
    page = write_page(image, DPI, tmp_path)
    with Image.open(page.gray) as seen:
        assert ImageChops.difference(seen, image).getbbox() is None
    assert (page.rotation, page.skew, page.scale, page.gray_size) == (0, 0.0, 1.0, WIDE)


def test_dust_on_a_blank_page_makes_no_words(tmp_path: Path):
    result = read(draw([], size=WIDE, speckles=400), tmp_path)
    assert (result.text, result.words) == ("", ())
