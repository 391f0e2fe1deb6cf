"""What happened to a batch, as it was told."""

from django.db import models

from batches.models.batch import Batch


class BatchEvent(models.Model):
    """Something that happened to a batch, as it was told. `seq` runs 1, 2, 3 … without a hole."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    type = models.CharField(max_length=30)
    payload = models.JSONField()
    created = models.DateTimeField()

    class Meta:
        ordering = ("seq",)
        constraints = (models.UniqueConstraint(fields=["batch", "seq"], name="event_seq_unique_in_batch"),)

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"
