"""Whose batch a request may see, and whose it may change. All else is 404."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from batches.models import Batch


def visible_batch(request: HttpRequest, pk: UUID) -> Batch:
    """The batch, to be looked at: one's own, or anybody's for staff."""
    return get_object_or_404(Batch.objects.visible_to(request.user), pk=pk)


def commanded_batch(request: HttpRequest, pk: UUID, permission: str) -> Batch:
    """The batch, for a command: staff see everybody's, but need the permission to change it."""
    batch = visible_batch(request, pk)
    if batch.owner_id != request.user.pk and not request.user.has_perm(f"batches.{permission}"):
        raise PermissionDenied
    return batch
