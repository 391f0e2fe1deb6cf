"""A page: its claim by one worker at a time, and what came of it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.db import models, transaction
from django.db.models import Avg, Count, Exists, F, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Now

from batches.documents import Document
from batches.errors import OcrError
from batches.models.batch import Batch, lease
from batches.models.source import SourceFile
from batches.models.turns import BIG, Load, turns
from batches.ocr import Options, PageResult
from batches.stages import STAGES

NOT_BIG = Q(weight__lt=BIG)


def batches_in_turn(which: Q | None = None) -> QuerySet[Batch]:
    """Running batches with queued pages (that match `which`), the one whose turn it is first.

    That is the one with the fewest pages running, and among those the one served longest ago.
    """
    pages = Page.objects.filter(batch=OuterRef("pk")).order_by()
    running = pages.filter(status=Page.Status.RUNNING).values("batch").annotate(n=Count("pk"))
    served = pages.filter(claimed_at__isnull=False).order_by("-claimed_at").values("claimed_at")[:1]
    return (
        Batch.objects.filter(
            Exists(pages.filter(which or Q(), status=Page.Status.QUEUED)), status=Batch.Status.RUNNING
        )
        .annotate(running=Coalesce(Subquery(running.values("n")), 0), served=Subquery(served))
        .order_by("running", F("served").asc(nulls_first=True), "created")
    )


PAGES_MEASURED = 1000  # that bounds what an average costs; older ones say little of what comes


def _seconds_of(stage: str) -> Cast:
    return Cast(KeyTextTransform(stage, "timings"), models.FloatField())


class PageQuerySet(models.QuerySet["Page"]):
    """Many pages."""

    @transaction.atomic
    def claim(self, *, big: bool = True) -> "Page | None":
        """Take in hand the next page of the batch whose turn it is, for one attempt. `big`: it may be a big one."""
        which = Q() if big else NOT_BIG
        for batch in batches_in_turn(which)[:5]:
            waiting = self.filter(which, batch=batch, status=Page.Status.QUEUED)
            page = waiting.select_for_update(skip_locked=True).order_by("turn", "-weight", "number").first()
            if page and waiting.filter(pk=page.pk).update(
                status=Page.Status.RUNNING,
                attempt=F("attempt") + 1,
                lease_expires_at=lease(),
                claimed_at=Now(),
            ):
                return self.select_related("batch", "source").get(pk=page.pk)
        return None

    def add(self, batch: Batch, accepted: Iterable[tuple[SourceFile, Document]]) -> None:
        """The pages of accepted files, numbered on from those the batch has. Under the batch's lock."""
        parts = [
            {"source": source, "index": index, "weight": document.megapixels_of(index)}
            for source, document in accepted
            for index in range(document.pages)
        ]
        pages = (
            Page(batch=batch, number=number, turn=number, **part)
            for number, part in enumerate(parts, batch.total + 1)
        )
        self.bulk_create(pages, batch_size=1000)
        batch.count("total", len(parts))

    def put_in_turn(self, slots: int) -> None:
        """Pull heavy pages forward so that so many slots end at about the same time: see `turns`."""
        queued = self.filter(status=Page.Status.QUEUED)
        big = Sum("weight", filter=Q(weight__gte=BIG), default=0.0)
        weighed = queued.exclude(weight=0).aggregate(
            mean=Avg("weight", default=0.0), heaviest=Max("weight", default=0.0), big=big
        )
        load = Load(**weighed)
        if load.even:
            return
        pks: dict[int, int] = {}

        def last_first() -> Iterator[tuple[int, float]]:
            for pk, number, weight in (
                queued.order_by("-number").values_list("pk", "number", "weight").iterator()
            ):
                pks[number] = pk
                yield number, weight

        moved = [Page(pk=pks[number], turn=turn) for number, turn in turns(last_first(), load, slots)]
        self.bulk_update(moved, ["turn"], batch_size=500)

    def waiting(self) -> "PageQuerySet":
        """Queued pages that a worker may claim."""
        return self.filter(status=Page.Status.QUEUED, batch__status=Batch.Status.RUNNING)

    def wait_for_a_big_one(self) -> bool:
        """Whether all that waits are big pages, and one is in hand: they have their turn after it."""
        if self.waiting().filter(NOT_BIG).exists():
            return False
        return self.filter(~NOT_BIG, status=Page.Status.RUNNING).exists()

    def abandoned(self) -> "PageQuerySet":
        """Running pages whose worker has not been heard of within its lease."""
        return self.filter(status=Page.Status.RUNNING, lease_expires_at__lt=Now())

    def engines(self) -> list[str]:
        """What has read them, by name."""
        return list(self.exclude(engine="").order_by("engine").values_list("engine", flat=True).distinct())

    def mean_seconds(self) -> dict[str, float]:
        """Seconds a page by stage, over those that were read last; empty where nothing was measured."""
        measured = self.filter(status=Page.Status.SUCCEEDED).exclude(timings={}).order_by("-claimed_at")
        sums = {stage: Sum(_seconds_of(stage)) for stage in STAGES}
        found = measured[:PAGES_MEASURED].aggregate(pages=Count("pk"), **sums)
        pages = found.pop("pages")
        return {stage: (seconds or 0.0) / pages for stage, seconds in found.items()} if pages else {}

    def cancel_queued(self) -> int:
        """None of them will be read. Answers how many that were."""
        return self.filter(status=Page.Status.QUEUED).update(status=Page.Status.CANCELLED)

    def keep_options(self, options: dict[str, Any]) -> int:
        """What was read with the batch's `options` has them as its own from now on. Answers how many that are."""
        return self.filter(status=Page.Status.SUCCEEDED, options__isnull=True).update(options=options)

    def requeue(self, status: str, options: Options | None) -> int:
        """Those that ended as `status` are to be read again, as before or with `options`. Answers how many."""
        fields = {"options": options.as_json()} if options else {}
        return self.filter(status=status).update(
            status=Page.Status.QUEUED, losses=0, error_code="", error_message="", **fields
        )


class Page(models.Model):
    """One page: an image to be read, and what came of it.

    `attempt` only ever grows: a result is taken from the attempt that holds the page, and from no other.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="pages")
    source = models.ForeignKey(SourceFile, on_delete=models.CASCADE, related_name="pages")
    number = models.PositiveIntegerField()  # in the batch, from 1
    index = models.PositiveIntegerField()  # in the file, from 0
    weight = models.FloatField(default=0.0)  # megapixels, as far as known before it is opened; 0: not known
    turn = models.PositiveIntegerField(default=0)  # of its batch, the lowest is begun first: see `turns`
    options = models.JSONField(null=True, blank=True)  # where it is read otherwise than its batch
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    losses = models.PositiveSmallIntegerField(default=0)
    claimed_at = models.DateTimeField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    width = models.PositiveIntegerField(null=True, blank=True)  # pixels
    height = models.PositiveIntegerField(null=True, blank=True)
    dpi = models.PositiveIntegerField(null=True, blank=True)
    rotation = models.PositiveSmallIntegerField(default=0)  # degrees clockwise to make it upright
    skew = models.FloatField(
        default=0.0
    )  # degrees clockwise by which it was tilted then, and is straightened
    text = models.TextField(blank=True)
    confidence = models.FloatField(null=True, blank=True)  # mean over the words, 0–100
    seconds = models.FloatField(null=True, blank=True)
    engine = models.CharField(max_length=100, blank=True)
    timings = models.JSONField(default=dict, blank=True)  # seconds by stage, see `batches.stages`
    note = models.TextField(blank=True)  # a remark for the user: where the text comes from, what is left out
    recognised_before = models.BooleanField(default=False)  # its text is that of the same page, read earlier
    error_code = models.CharField(max_length=30, blank=True)
    error_message = models.TextField(blank=True)

    objects = PageQuerySet.as_manager()

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=["batch", "number"], name="page_number_unique_in_batch"),
            models.UniqueConstraint(fields=["source", "index"], name="page_index_unique_in_file"),
            models.CheckConstraint(
                condition=Q(status="running", lease_expires_at__isnull=False)
                | (~Q(status="running") & Q(lease_expires_at=None)),
                name="page_running_has_lease",
            ),
        )
        indexes = (
            models.Index(fields=["batch", "status", "number"], name="page_batch_status"),
            models.Index(fields=["batch", "status", "turn", "-weight", "number"], name="page_batch_turn"),
            models.Index(fields=["batch", "claimed_at"], name="page_batch_claimed"),
            models.Index(fields=["batch", "engine"], name="page_batch_engine"),
            models.Index(fields=["lease_expires_at"], name="page_lease", condition=Q(status="running")),
        )

    def __str__(self) -> str:
        return f"Page {self.number}"

    def reading_options(self) -> Options:
        """How it is read. Raises BadOptions."""
        return Options.parse(self.options or self.batch.options)

    @property
    def is_big(self) -> bool:
        """Whether it takes so much memory that on a machine only one such page is read at a time."""
        return self.weight >= BIG

    @property
    def image_path(self) -> Path:
        """The page as people see it, in a file that we wrote. There once an attempt has decoded it."""
        return self.batch.folder / "pages" / f"{self.number:06d}.jpg"

    def words_path(self, attempt: int) -> Path:
        """The words with their boxes, of one attempt: a late one cannot write over another's."""
        return self.batch.folder / "pages" / f"{self.number:06d}-{attempt}.json"

    def succeed(self, result: PageResult) -> bool:
        """This attempt has read the page."""
        return self._end(
            self.Status.SUCCEEDED,
            text=result.text,
            confidence=result.confidence,
            seconds=result.seconds,
            width=result.width,
            height=result.height,
            dpi=result.dpi,
            rotation=result.rotation,
            skew=result.skew,
            engine=result.engine,
            note=result.note,
            recognised_before=result.recognised_before,
            timings=dict(result.timings),
        )

    def fail(self, error: OcrError) -> bool:
        """This attempt could not read the page."""
        return self._end(self.Status.FAILED, error_code=error.code, error_message=str(error))

    def told(self, seconds: float) -> None:
        """Saving and telling that it was read took so long: known only after the fact."""
        self.timings |= {"event": round(seconds, 4)}
        mine = Page.objects.filter(pk=self.pk, status=self.Status.SUCCEEDED, attempt=self.attempt)
        mine.update(timings=self.timings)

    def lose(self) -> bool:
        """The worker of this attempt is gone: back into the queue."""
        return self._end(self.Status.QUEUED, losses=self.losses + 1)

    def renew(self) -> bool:
        """Keep the page in hand. False: it is no longer wanted, or no longer this attempt's."""
        wanted = self._held().exclude(batch__status=Batch.Status.CANCELLING)
        return bool(wanted.update(lease_expires_at=lease()))

    def drop(self) -> bool:
        """This attempt was given up, because the batch was cancelled meanwhile."""
        return self._end(self.Status.CANCELLED)

    def _held(self) -> PageQuerySet:
        return Page.objects.filter(pk=self.pk, status=self.Status.RUNNING, attempt=self.attempt)

    def _end(self, new: str, **fields: Any) -> bool:
        fields |= {"status": new, "lease_expires_at": None}
        if not self._held().update(**fields):
            return False
        for name, value in fields.items():
            setattr(self, name, value)
        return True
