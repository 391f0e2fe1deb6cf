"""What users call their things, as it is stored, shown and put into headers."""

import unicodedata
from urllib.parse import unquote

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from batches import ocr, services
from batches.models import Batch
from batches.names import HIDDEN, MAX_BYTES, attachment, shown
from batches.services import LocalFile
from tests.conftest import client_of
from tests.scans import write_scans


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("Kästen 12 – Straße", "Kästen 12 – Straße"),
        ("סֵפֶר 例 🗃", "סֵפֶר 例 🗃"),
        ("a\nb\r\x00\x1b[31m", "a␊b␍␀␛[31m"),
        ("\x7f\x85", "␡⟨U+0085⟩"),
        ("invoice\u202egnp.exe", "invoice⟨U+202E⟩gnp.exe"),
        ("a\u200bb\u2066c\ufeff\u2028", "a⟨U+200B⟩b⟨U+2066⟩c⟨U+FEFF⟩⟨U+2028⟩"),
        ("caf\udce9.png", "caf�.png"),
        ("  ", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_what_would_be_hidden_is_shown(name, seen):
    assert shown(name, 200) == seen


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("k" * 300 + ".png", "kkkk", "kkk.png"),
        ("例" * 300, "例例", "例例"),
        ("🗃" * 300 + ".tiff", "🗃🗃", "🗃.tiff"),
        ("\u202e" * 300, "⟨U+202E⟩⟨", "⟩⟨U+202E⟩"),
    ],
)
def test_a_long_name_is_bounded_and_keeps_both_ends(name, start, end):
    short = shown(name, 200)
    assert len(short) <= 200
    assert len(short.encode()) <= MAX_BYTES
    assert short.startswith(start)
    assert short.endswith(end)


def test_nothing_hidden_is_left_of_any_character():
    for character in map(chr, range(0x110000)):
        if unicodedata.category(character) in HIDDEN | {"Cs"}:
            left = {unicodedata.category(one) for one in shown(character, 200)}
            assert left.isdisjoint(HIDDEN | {"Cs"}), hex(ord(character))


@pytest.mark.parametrize(
    ("name", "plain", "whole"),
    [
        ("Kästen 12.txt", "Kasten-12.txt", "Kästen 12.txt"),
        ('a"b\\c/d;e%.txt', "a-b_c_d-e-.txt", 'a"b_c_d;e%.txt'),
        ("x\r\nSet-Cookie: a=b", "xSet-Cookie-a-b", "x␍␊Set-Cookie: a=b"),
        ("../../etc/passwd", "_.._etc_passwd", ".._.._etc_passwd"),
        ("箱", "download", "箱"),
    ],
)
def test_a_download_has_its_name_in_letters_and_in_ascii(name, plain, whole):
    header = attachment(name)
    assert header.isascii()
    assert header.isprintable()
    start, encoded = header.split("; filename*=UTF-8''")
    assert start == f'attachment; filename="{plain}"'
    assert unquote(encoded) == whole


@pytest.mark.django_db(transaction=True)
def test_names_are_made_visible_where_they_are_taken_in(user, tmp_path):
    (scan,) = write_scans(tmp_path, 1)
    uploads = [LocalFile(scan, "evil\u202egnp.exe\n.png"), LocalFile(scan, "\udcff")]
    batch = services.create_batch(user, "Box\x00\u200f", uploads, ocr.Options())
    batch.refresh_from_db()
    assert batch.name == "Box␀⟨U+200F⟩"
    assert [file.name for file in batch.files.all()] == ["evil⟨U+202E⟩gnp.exe␊.png", "�"]
    content = client_of(user).get(batch.get_absolute_url()).content.decode()
    assert "Box␀⟨U+200F⟩" in content


@pytest.mark.django_db(transaction=True)
def test_names_from_a_form_hide_nothing(user, tmp_path):
    (scan,) = write_scans(tmp_path, 1)
    file = SimpleUploadedFile("a\u202eb\u200b.png", scan.read_bytes())
    client_of(user).post("/batches/new/", {"files": [file], "languages": ["eng"], "name": "Box\u202e"})
    batch = Batch.objects.get()
    for name in (batch.name, batch.files.get().name):
        assert not any(unicodedata.category(character) in HIDDEN for character in name)
