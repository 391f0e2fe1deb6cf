"""What users fill in: checked, and given on as values of ours."""

from batches.forms.new_batch import NewBatchForm
from batches.forms.preset import PresetForm
from batches.forms.retry import RetryForm
from batches.forms.trial import TrialForm

__all__ = ["NewBatchForm", "PresetForm", "RetryForm", "TrialForm"]
