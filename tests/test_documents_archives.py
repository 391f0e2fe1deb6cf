"""ZIP archives: what is in them, what is refused, and the batch that they become."""

import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from batches import tasks
from batches.documents import Archive, Limits, inspect, unpack
from batches.errors import CorruptFile, Encrypted, FileError, TooLarge, UnsupportedType
from batches.models import Batch
from tests.conftest import check_invariants, client_of, ended, prepare_next, wait_for
from tests.scans import write_scans
from tests.zips import add_link, set_flag, write_overlapping, write_zip

LIMITS = Limits()


@pytest.fixture
def card(tmp_path: Path) -> bytes:
    return write_scans(tmp_path / "one", 1)[0].read_bytes()


def names(path: Path) -> list[str]:
    archive = inspect(path, LIMITS)
    assert isinstance(archive, Archive)
    return [member.name for member in archive.members]


def test_files_are_listed_in_natural_order_without_what_systems_leave(tmp_path: Path):
    members = dict.fromkeys(
        [
            "b/card-10.png",
            "b/card-2.png",
            "a.png",
            "__MACOSX/a.png",
            "b/.DS_Store",
            "Thumbs.db",
            "c/",
            "b/Card-1.png",
        ],
        b"x",
    )
    assert names(write_zip(tmp_path / "box.zip", members)) == [
        "a.png",
        "b/Card-1.png",
        "b/card-2.png",
        "b/card-10.png",
    ]


def test_names_in_utf_8_that_do_not_say_so_are_understood(tmp_path: Path):
    path = write_zip(tmp_path / "box.zip", {"M~ller.png".replace("~", "\u00fc"): b"x"})
    path.write_bytes(
        path.read_bytes().replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00")
    )  # the flag that says so
    assert names(path) == ["Müller.png"]


def test_members_are_unpacked_as_they_were(tmp_path: Path, card: bytes):
    path = write_zip(tmp_path / "box.zip", {"2.png": b"two", "1.png": card})
    unpack(path, {1: tmp_path / "first", 2: tmp_path / "second"}, LIMITS)
    assert (tmp_path / "first").read_bytes() == card
    assert (tmp_path / "second").read_bytes() == b"two"


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"[Content_Types].xml": b"", "word/document.xml": b""}, "a Microsoft Word file"),
        ({"[Content_Types].xml": b"", "xl/workbook.xml": b""}, "a Microsoft Excel file"),
        ({"mimetype": b"application/vnd.oasis.opendocument.text"}, "an OpenDocument file"),
        ({"mimetype": b"application/epub+zip"}, "an e-book"),
    ],
)
def test_office_files_are_refused_by_name(tmp_path: Path, members: dict[str, bytes], what: str):
    with pytest.raises(UnsupportedType, match=what):
        inspect(write_zip(tmp_path / "box.zip", members), LIMITS)


def test_an_archive_of_nothing_is_refused(tmp_path: Path):
    with pytest.raises(CorruptFile, match="no files"):
        inspect(write_zip(tmp_path / "box.zip", {"empty/": b""}), LIMITS)


def test_a_truncated_archive_is_refused(tmp_path: Path, card: bytes):
    path = write_zip(tmp_path / "box.zip", {"card.png": card})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match="ZIP archive is damaged"):
        inspect(path, LIMITS)


def test_too_many_files_are_refused(tmp_path: Path):
    path = write_zip(tmp_path / "box.zip", {f"{n}.png": b"" for n in range(11)})
    with pytest.raises(TooLarge, match="11 files"):
        inspect(path, Limits(zip_entries=10))


def test_too_much_in_all_is_refused(tmp_path: Path):
    path = write_zip(tmp_path / "box.zip", {f"{n}.png": bytes(1000) for n in range(11)})
    with pytest.raises(TooLarge, match="would unpack to"):
        inspect(path, Limits(zip_bytes=10_000))


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path):
    with pytest.raises(CorruptFile, match="lie over one another"):
        inspect(write_overlapping(tmp_path / "bomb.zip", 100_000, 500), LIMITS)


def test_a_member_that_unpacks_a_thousandfold_is_refused_alone(tmp_path: Path, card: bytes):
    path = write_zip(tmp_path / "bomb.zip", {"bomb.tif": bytes(40 * 1024**2), "card.png": card})
    assert names(path) == ["bomb.tif", "card.png"]
    with pytest.raises(TooLarge, match="would unpack to 42 MB"):
        unpack(path, {1: tmp_path / "bomb"}, LIMITS)
    unpack(path, {2: tmp_path / "card"}, LIMITS)
    assert (tmp_path / "card").read_bytes() == card


def test_a_size_that_is_a_lie_is_found_out(tmp_path: Path):
    """It declares 100 bytes and holds 100,000: no more than declared is written, and it counts as damaged."""
    path = write_zip(tmp_path / "lie.zip", {"card.png": bytes(100_000)})
    path.write_bytes(path.read_bytes().replace((100_000).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with pytest.raises(CorruptFile, match="damaged inside the ZIP"):
        unpack(path, {1: tmp_path / "card"}, LIMITS)
    assert not (tmp_path / "card").exists()


@pytest.fixture
def hostile_zip(tmp_path: Path, card: bytes) -> Path:
    """Two good cards among members of every bad kind."""
    inner = write_zip(tmp_path / "inner.zip", {"card.png": card}).read_bytes()
    members = {
        "letters/card-1.png": card,
        "letters/card-2.png": card,
        "../escape.png": card,
        "/absolute.png": card,
        "C:\\windows.png": card,
        "inner.zip": inner,
        "locked.png": card,
        "table.docx": write_zip(tmp_path / "d", {"[Content_Types].xml": b"", "word/x": b""}).read_bytes(),
        "broken.png": card,
    }
    path = write_zip(tmp_path / "box.zip", members, method=zipfile.ZIP_STORED)
    add_link(path, "link.png", "/etc/passwd")
    set_flag(path, "locked.png", 0x1)
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("broken.png").header_offset + 500
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    return path


REFUSED = {
    "../escape.png": (UnsupportedType, "outside of its own folder"),
    "/absolute.png": (UnsupportedType, "outside of its own folder"),
    "C:/windows.png": (UnsupportedType, "outside of its own folder"),
    "broken.png": (CorruptFile, "damaged inside the ZIP"),
    "inner.zip": (UnsupportedType, "archive inside an archive"),
    "link.png": (UnsupportedType, "link to another file"),
    "locked.png": (Encrypted, "protected by a password"),
    "table.docx": (UnsupportedType, "Microsoft Word"),
}


@pytest.mark.parametrize("name", [name for name in REFUSED if name not in ("inner.zip", "table.docx")])
def test_a_bad_member_is_refused_alone(tmp_path: Path, hostile_zip: Path, name: str):
    error, message = REFUSED[name]
    member = names(hostile_zip).index(name) + 1
    with pytest.raises(error, match=message):
        unpack(hostile_zip, {member: tmp_path / "out"}, LIMITS)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ in a batch


@pytest.mark.django_db(transaction=True)
def test_an_archives_files_are_read_in_its_place(worker, make_batch, hostile_zip: Path, tmp_path: Path):
    before, after = write_scans(tmp_path / "scans", 2)
    after.write_bytes(b"rubbish")
    batch = make_batch(files=[before, hostile_zip, after])
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    archive = batch.files.get(position=2, member=0)
    assert (archive.status, archive.page_count) == ("unpacked", 0)
    refused = dict(batch.files.filter(status="rejected", member__gt=0).values_list("name", "error_message"))
    assert refused.keys() == {f"box.zip/{name}" for name in REFUSED}
    for name, (_, message) in REFUSED.items():
        assert message in refused[f"box.zip/{name}"]
    read = [(page.source.name, page.number) for page in batch.pages.select_related("source")]
    assert read == [("card-1.png", 1), ("box.zip/letters/card-1.png", 2), ("box.zip/letters/card-2.png", 3)]
    assert (batch.succeeded, batch.files.get(position=3).error_code) == (3, "unsupported_type")
    told = [event.payload["file"] for event in batch.events.filter(type__startswith="file.")]
    keys = [(file["number"], file["member"]) for file in told]
    assert keys == sorted(set(keys))
    assert len(keys) == 3 + len(REFUSED) + 2


def test_the_same_file_twice_is_read_twice_and_pointed_out(make_batch, user, tmp_path: Path, card: bytes):
    paths = write_scans(tmp_path / "scans", 2)
    again = tmp_path / "again.png"
    again.write_bytes(paths[0].read_bytes())
    box = write_zip(tmp_path / "box.zip", {"a.png": paths[1].read_bytes()})
    batch = make_batch(files=[*paths, again, box])
    while Batch.objects.to_prepare().exists():
        prepare_next()
    batch.refresh_from_db()
    assert batch.total == 4
    notes = dict(batch.files.exclude(note="").values_list("name", "note"))
    assert notes == {
        "again.png": "The same file as card-1.png: both are read.",
        "box.zip/a.png": "The same file as card-2.png: both are read.",
    }
    content = client_of(user).get(batch.get_absolute_url()).content.decode()
    assert 'data-key="file:4.1"' in content
    assert "The same file as card-1.png" in content


def test_a_crash_in_mid_archive_loses_nothing(make_batch, tmp_path: Path, card: bytes, monkeypatch):
    """Unpacking goes on where it was: what is there is not unpacked again, what is not, is."""
    batch = make_batch(files=[write_zip(tmp_path / "box.zip", {f"{n}.png": card for n in range(5)})])
    prepare_next()
    members = list(batch.files.filter(member__gt=0))
    unpack(batch.files.get(member=0).path, {2: members[1].path}, LIMITS)
    monkeypatch.setattr("batches.tasks.preparing.PREPARE_SECONDS", 0)
    for _ in members:
        prepare_next()
    batch.refresh_from_db()
    assert (batch.status, batch.total) == ("running", 5)
    assert set(batch.files.filter(member__gt=0).values_list("sha256")) == {(sha256(card).hexdigest(),)}


def test_every_refusal_is_a_files(hostile_zip: Path):
    assert all(issubclass(error, FileError) for error, _ in REFUSED.values())


def test_a_member_that_is_damaged_is_refused_alone_wherever_it_stands(make_batch, tmp_path: Path):
    """Its compressed bytes are rubbish, which the decompressor tells by an error of its own."""
    card = write_scans(tmp_path, 1)[0].read_bytes()
    path = write_zip(tmp_path / "box.zip", {"a.png": card, "b.png": card + b"b", "c.png": card + b"c"})
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("b.png")
        start = entry.header_offset + 30 + len(entry.filename)
    content = bytearray(path.read_bytes())
    content[start : start + 400] = b"\xff" * 400
    path.write_bytes(content)
    batch = make_batch(files=[path])
    for _ in range(6):
        tasks.work()
    check_invariants(batch)
    told = {file.name: file.error_code for file in batch.files.filter(member__gt=0)}
    assert told == {"box.zip/a.png": "", "box.zip/b.png": "corrupt_file", "box.zip/c.png": ""}


def test_the_archives_of_a_batch_share_its_limits(make_batch, tmp_path: Path, settings):
    settings.MAX_ZIP_ENTRIES = 3
    card = write_scans(tmp_path, 1)[0].read_bytes()
    boxes = [write_zip(tmp_path / f"{name}.zip", {"1.png": card, "2.png": card}) for name in "ab"]
    batch = make_batch(files=boxes)
    for _ in range(6):
        tasks.work()
    check_invariants(batch)
    assert [file.error_code for file in batch.files.filter(member=0)] == ["", "too_large"]
    assert batch.succeeded == 2


def test_names_of_any_length_are_cut_short(tmp_path: Path):
    path = write_zip(tmp_path / "box.zip", {f"{'x' * 60_000}{n}.png": b"1" for n in range(200)})
    archive = inspect(path, LIMITS)
    assert isinstance(archive, Archive)
    assert max(len(member.name) for member in archive.members) <= 1000
