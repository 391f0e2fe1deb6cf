"""The administrator's view: everything to be read, nothing to be edited; its actions are user commands."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils.html import format_html

from batches import services
from batches.events import snapshot
from batches.models import Batch, BatchEvent, Page, Preset, SourceFile, Trial


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows are made and changed by the product alone; what users may command, actions offer."""

    def has_command_permission(self, request: HttpRequest) -> bool:
        """Django's change permission is what a command needs, though no field can be edited."""
        return request.user.has_perm("batches.change_batch")

    def tell_queued(self, request: HttpRequest, batch: Batch, n: int) -> None:
        """How many pages or files of the batch will be read again."""
        self.tell(
            request, batch, f"{n} page{pluralize(n)} queued again." if n else "nothing to retry.", bool(n)
        )

    def tell(self, request: HttpRequest, batch: Batch, what: str, effect: bool) -> None:
        """What came of a command, by the batch's name."""
        self.message_user(request, f"{batch.name}: {what}", messages.SUCCESS if effect else messages.WARNING)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    list_display = ("name", "owner", "status", "progress", "succeeded", "failed", "cancelled", "created")
    list_filter = ("status", "created", ("owner", admin.RelatedOnlyFieldListFilter))
    search_fields = ("name", "owner__username", "id", "files__name")
    list_select_related = ("owner",)
    date_hierarchy = "created"
    actions = ("retry_failed_pages", "pause", "resume", "cancel")
    fields = (
        "id", "name", "owner", "status", "progress", "total", "succeeded", "failed", "cancelled",
        "preset", "options", "error_code", "error_message", "created", "run_started", "finished", "links",
    )  # fmt: skip
    readonly_fields = ("progress", "links")

    @admin.display(description="progress")
    def progress(self, batch: Batch) -> str:
        return format_html(
            '<progress max="{}" value="{}"></progress> {} of {}',
            batch.total or 1,
            batch.current,
            batch.current,
            batch.total,
        )

    @admin.display(description="see")
    def links(self, batch: Batch) -> str:
        """Pages and events by the thousand have lists of their own, with pages and filters."""
        parts = {"pages": "page", "failed pages": "page", "files": "sourcefile", "events": "batchevent"}
        query = dict.fromkeys(parts, f"batch__id__exact={batch.pk}")
        query["failed pages"] += "&status__exact=failed"
        links = [
            format_html(
                '<a href="{}?{}">{}</a>', reverse(f"admin:batches_{model}_changelist"), query[label], label
            )
            for label, model in parts.items()
        ]
        live = format_html('<a href="{}">live page</a>', batch.get_absolute_url())
        return format_html(" · ".join(["{}"] * 5), live, *links)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        batch = self.get_object(request, object_id)
        live = {"batch": batch, "snapshot": snapshot(batch)} if batch else {}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | live)

    @admin.action(description="Retry failed pages", permissions=["command"])
    def retry_failed_pages(self, request: HttpRequest, batches: QuerySet[Batch]) -> None:
        for batch in batches:
            self.tell_queued(request, batch, services.retry_batch(batch, statuses=[Page.Status.FAILED]))

    @admin.action(description="Pause", permissions=["command"])
    def pause(self, request: HttpRequest, batches: QuerySet[Batch]) -> None:
        for batch in batches:
            paused = services.pause_batch(batch)
            self.tell(request, batch, "paused." if paused else "is not running.", paused)

    @admin.action(description="Resume", permissions=["command"])
    def resume(self, request: HttpRequest, batches: QuerySet[Batch]) -> None:
        for batch in batches:
            resumed = services.resume_batch(batch)
            self.tell(request, batch, "goes on." if resumed else "is not paused.", resumed)

    @admin.action(description="Cancel", permissions=["command"])
    def cancel(self, request: HttpRequest, batches: QuerySet[Batch]) -> None:
        for batch in batches:
            cancelled = services.cancel_batch(batch)
            self.tell(
                request, batch, "cancelled." if cancelled else "had ended, or is being cancelled.", cancelled
            )


@admin.register(SourceFile)
class SourceFileAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "batch",
        "position",
        "member",
        "kind",
        "page_count",
        "size",
        "status",
        "error_message",
        "note",
    )
    list_filter = ("status", "kind")
    search_fields = ("name", "batch__name", "sha256")
    list_select_related = ("batch",)


@admin.register(Page)
class PageAdmin(ReadOnlyAdmin):
    list_display = (
        "number",
        "batch",
        "source",
        "status",
        "confidence",
        "seconds",
        "attempt",
        "error_message",
        "note",
    )
    list_filter = ("status", "error_code")
    search_fields = ("batch__name", "source__name", "text")
    list_select_related = ("batch", "source")
    actions = ("retry",)

    @admin.action(description="Read again what was not read", permissions=["command"])
    def retry(self, request: HttpRequest, pages: QuerySet[Page]) -> None:
        for batch in Batch.objects.filter(pk__in=pages.values("batch")):
            which = Q(pk__in=pages.values_list("pk", flat=True))
            self.tell_queued(request, batch, services.retry_batch(batch, which))


@admin.register(BatchEvent)
class BatchEventAdmin(ReadOnlyAdmin):
    list_display = ("seq", "type", "batch", "created")
    list_filter = ("type",)
    search_fields = ("batch__name",)
    list_select_related = ("batch",)


@admin.register(Preset)
class PresetAdmin(ReadOnlyAdmin):
    list_display = ("name", "owner", "options", "created", "updated")
    list_filter = (("owner", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("name", "owner__username")
    list_select_related = ("owner",)


@admin.register(Trial)
class TrialAdmin(ReadOnlyAdmin):
    list_display = ("page", "batch", "preset", "status", "confidence", "seconds", "words", "created")
    list_filter = ("status",)
    search_fields = ("batch__name", "preset")
    list_select_related = ("batch", "page")
