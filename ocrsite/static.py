"""Static files in production: compressed, and named by their content so that browsers may keep them."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """ES modules import each other by those names too: an update is never half an update."""

    support_js_module_import_aggregation = True
