"""What lies on a PDF page: its pictures, text and drawings, and where. Runs in the cage only."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pypdfium2 as pdfium
from pypdfium2 import raw as pdfium_c

MAX_DEPTH = 8  # of forms within forms
MAX_OBJECTS = 200_000  # looked at; what lies beyond decides nothing
INVISIBLE = (pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium_c.FPDF_TEXTRENDERMODE_CLIP)
FILLED_IN = (
    pdfium_c.FPDF_ANNOT_FREETEXT,
    pdfium_c.FPDF_ANNOT_STAMP,
    pdfium_c.FPDF_ANNOT_WIDGET,
    pdfium_c.FPDF_ANNOT_INK,
)


class Matrix(NamedTuple):
    """A map of the plane as PDF writes it: x' = ax + cy + e, y' = bx + dy + f (ISO 32000-1, 8.3.3)."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    e: float = 0.0
    f: float = 0.0

    def then(self, outer: "Matrix") -> "Matrix":
        """This map, and `outer` after it."""
        return Matrix(
            self.a * outer.a + self.b * outer.c,
            self.a * outer.b + self.b * outer.d,
            self.c * outer.a + self.d * outer.c,
            self.c * outer.b + self.d * outer.d,
            self.e * outer.a + self.f * outer.c + outer.e,
            self.e * outer.b + self.f * outer.d + outer.f,
        )

    def apply(self, x: float, y: float) -> tuple[float, float]:
        """Where the point goes."""
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f


class Picture(NamedTuple):
    """An image on the page: its pdfium object, and its unit square's way to the page as it is seen."""

    object: Any
    seen: Matrix
    share: float  # of the page's area that it covers, 0–1


@dataclass
class Layout:
    """What lies on the page. `over` counts drawings above the last picture."""

    pictures: list[Picture] = field(default_factory=list)
    visible_text: int = 0
    invisible_text: int = 0
    over: int = 0
    filled_in: bool = False

    @property
    def pictures_share(self) -> float:
        """Of the page's area, what pictures cover at the most: 0–1."""
        return min(1.0, sum(picture.share for picture in self.pictures))


def lay_out(page: pdfium.PdfPage) -> Layout:
    """Look at everything on the page, also inside of forms."""
    layout = Layout(filled_in=_is_filled_in(page))
    to_seen = seen_from_user(page)
    for object_, matrix in _objects(page):
        match pdfium_c.FPDFPageObj_GetType(object_):
            case pdfium_c.FPDF_PAGEOBJ_IMAGE:
                seen = _matrix(object_).then(matrix).then(to_seen)
                layout.pictures.append(Picture(object_, seen, _share(seen)))
                layout.over = 0
            case pdfium_c.FPDF_PAGEOBJ_TEXT:
                if pdfium_c.FPDFTextObj_GetTextRenderMode(object_) in INVISIBLE:
                    layout.invisible_text += 1
                else:
                    layout.visible_text += 1
            case pdfium_c.FPDF_PAGEOBJ_PATH | pdfium_c.FPDF_PAGEOBJ_SHADING:
                layout.over += 1
    return layout


def seen_from_user(page: pdfium.PdfPage) -> Matrix:
    """From the PDF's coordinates to the page as it is seen: 0–1 from left to right and from top to bottom."""
    scale = 1_000_000

    def seen(x: float, y: float) -> tuple[float, float]:
        left, top = ctypes.c_int(), ctypes.c_int()
        pdfium_c.FPDF_PageToDevice(page, 0, 0, scale, scale, 0, x, y, left, top)
        return left.value / scale, top.value / scale

    (e, f), (right_x, right_y), (up_x, up_y) = seen(0, 0), seen(100, 0), seen(0, 100)
    return Matrix((right_x - e) / 100, (right_y - f) / 100, (up_x - e) / 100, (up_y - f) / 100, e, f)


def _objects(page: pdfium.PdfPage) -> Iterator[tuple[Any, Matrix]]:
    """Each object with the way from its own coordinates' form to the page's."""
    left = MAX_OBJECTS
    count, get = pdfium_c.FPDFPage_CountObjects, pdfium_c.FPDFPage_GetObject
    stack = [(get(page, i), Matrix(), 0) for i in reversed(range(min(count(page), left)))]
    while stack and left:
        object_, matrix, depth = stack.pop()
        left -= 1
        if pdfium_c.FPDFPageObj_GetType(object_) != pdfium_c.FPDF_PAGEOBJ_FORM:
            yield object_, matrix
        elif depth < MAX_DEPTH:
            inner = _matrix(object_).then(matrix)
            n = min(pdfium_c.FPDFFormObj_CountObjects(object_), left)
            stack += [
                (pdfium_c.FPDFFormObj_GetObject(object_, i), inner, depth + 1) for i in reversed(range(n))
            ]


def _matrix(object_: Any) -> Matrix:
    found = pdfium_c.FS_MATRIX()
    if not pdfium_c.FPDFPageObj_GetMatrix(object_, found):
        return Matrix()
    return Matrix(found.a, found.b, found.c, found.d, found.e, found.f)


def _share(seen: Matrix) -> float:
    """The part of the page that the unit square's bounding box covers."""
    xs, ys = zip(*(seen.apply(x, y) for x in (0, 1) for y in (0, 1)), strict=True)
    width: float = min(max(xs), 1.0) - max(min(xs), 0.0)
    height: float = min(max(ys), 1.0) - max(min(ys), 0.0)
    return max(width, 0.0) * max(height, 0.0)


def _is_filled_in(page: pdfium.PdfPage) -> bool:
    """Whether there is text on the page that is no part of its content: form fields, stamps, remarks."""
    for i in range(min(pdfium_c.FPDFPage_GetAnnotCount(page), 1000)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, i)
        if not annotation:
            continue
        kind = pdfium_c.FPDFAnnot_GetSubtype(annotation)
        pdfium_c.FPDFPage_CloseAnnot(annotation)
        if kind in FILLED_IN:
            return True
    return False
