"""What people call Tesseract's language and script models.

Names after Tesseract's documentation (tesseract(1), "Languages and scripts").
"""

_LANGUAGES = """
afr Afrikaans
amh Amharic
ara Arabic
asm Assamese
aze Azerbaijani
aze_cyrl Azerbaijani (Cyrillic)
bel Belarusian
ben Bengali
bod Tibetan
bos Bosnian
bre Breton
bul Bulgarian
cat Catalan
ceb Cebuano
ces Czech
chi_sim Chinese, simplified
chi_sim_vert Chinese, simplified (vertical)
chi_tra Chinese, traditional
chi_tra_vert Chinese, traditional (vertical)
chr Cherokee
cos Corsican
cym Welsh
dan Danish
dan_frak Danish (Fraktur)
deu German
deu_frak German (Fraktur, older model)
deu_latf German (Fraktur)
div Dhivehi
dzo Dzongkha
ell Greek
eng English
enm English, Middle (1100–1500)
epo Esperanto
equ Mathematics
est Estonian
eus Basque
fao Faroese
fas Persian
fil Filipino
fin Finnish
fra French
frk German (Fraktur)
frm French, Middle (about 1400–1600)
fry Frisian, Western
gla Gaelic, Scottish
gle Irish
glg Galician
grc Greek, ancient (to 1453)
guj Gujarati
hat Haitian
heb Hebrew
hin Hindi
hrv Croatian
hun Hungarian
hye Armenian
iku Inuktitut
ind Indonesian
isl Icelandic
ita Italian
ita_old Italian, old
jav Javanese
jpn Japanese
jpn_vert Japanese (vertical)
kan Kannada
kat Georgian
kat_old Georgian, old
kaz Kazakh
khm Khmer
kir Kyrgyz
kmr Kurdish, Kurmanji (Latin)
kor Korean
kor_vert Korean (vertical)
kur Kurdish
kur_ara Kurdish (Arabic)
lao Lao
lat Latin
lav Latvian
lit Lithuanian
ltz Luxembourgish
mal Malayalam
mar Marathi
mkd Macedonian
mlt Maltese
mon Mongolian
mri Maori
msa Malay
mya Burmese
nep Nepali
nld Dutch
nor Norwegian
oci Occitan (after 1500)
ori Oriya
pan Punjabi
pol Polish
por Portuguese
pus Pashto
que Quechua
ron Romanian
rus Russian
san Sanskrit
sin Sinhala
slk Slovak
slk_frak Slovak (Fraktur)
slv Slovenian
snd Sindhi
spa Spanish
spa_old Spanish, old
sqi Albanian
srp Serbian
srp_latn Serbian (Latin)
sun Sundanese
swa Swahili
swe Swedish
syr Syriac
tam Tamil
tat Tatar
tel Telugu
tgk Tajik
tgl Tagalog
tha Thai
tir Tigrinya
ton Tongan
tur Turkish
uig Uyghur
ukr Ukrainian
urd Urdu
uzb Uzbek
uzb_cyrl Uzbek (Cyrillic)
vie Vietnamese
yid Yiddish
yor Yoruba
"""
LANGUAGE_NAMES = dict(line.split(" ", 1) for line in _LANGUAGES.strip().splitlines())

# Of these the file's name says less than people would.
_SCRIPTS = {
    "HanS": "Chinese, simplified",
    "HanT": "Chinese, traditional",
    "Canadian_Aboriginal": "Canadian Aboriginal",
}

FRAKTUR = ("script/Fraktur", "Fraktur", "deu_latf", "frk")  # the best first; each reads the old German print


# Of Tesseract's languages and scripts those that are not written in Latin letters; the rest is.
NOT_LATIN = frozenset(
    [
        "amh",
        "ara",
        "asm",
        "bel",
        "ben",
        "bod",
        "bul",
        "chi",
        "chr",
        "div",
        "dzo",
        "ell",
        "fas",
        "grc",
        "guj",
        "heb",
        "hin",
        "hye",
        "iku",
        "jpn",
        "kan",
        "kat",
        "kaz",
        "khm",
        "kir",
        "kor",
        "lao",
        "mal",
        "mar",
        "mkd",
        "mon",
        "mya",
        "nep",
        "ori",
        "pan",
        "pus",
        "rus",
        "san",
        "sin",
        "snd",
        "srp",
        "syr",
        "tam",
        "tel",
        "tgk",
        "tha",
        "tir",
        "uig",
        "ukr",
        "urd",
        "yid",
        "osd",
        "equ",
    ]
)
LATIN_SCRIPTS = frozenset({"Latin", "Fraktur", "Vietnamese"})


def is_latin(code: str) -> bool:
    """Whether the language or script of this model is written in Latin letters."""
    if code.startswith("script/"):
        return code.removeprefix("script/") in LATIN_SCRIPTS
    language, _, form = code.partition("_")
    return form == "latn" or (language not in NOT_LATIN and form != "cyrl")


def language_name(code: str) -> str:
    """The model's name as people know it: `deu` is German, `script/Fraktur` Fraktur (script).

    Of a model that is not Tesseract's own (an operator may add any) the code as it is.
    """
    folder, _, name = code.rpartition("/")
    if folder == "script" or code in ("Fraktur", "Latin"):  # some lay them beside the languages
        stem, vertical, _ = name.partition("_vert")
        return f"{_SCRIPTS.get(stem, stem)} ({'script, vertical' if vertical else 'script'})"
    return LANGUAGE_NAMES.get(code, code)
