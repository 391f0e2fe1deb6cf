from django.urls import path

from batches import new_batch, preset_views, trial_views, tus, views

app_name = "batches"
urlpatterns = [
    path("", views.batch_list, name="list"),
    path("batches/new/", new_batch.batch_new, name="new"),
    path("batches/<uuid:pk>/", views.batch_detail, name="detail"),
    path("batches/<uuid:pk>/events/", views.batch_events, name="events"),
    path("batches/<uuid:pk>/text/", views.batch_text, name="text"),
    path("batches/<uuid:pk>/problems/", views.batch_problems, name="problems"),
    path("batches/<uuid:pk>/pause/", views.batch_pause, name="pause"),
    path("batches/<uuid:pk>/resume/", views.batch_resume, name="resume"),
    path("batches/<uuid:pk>/cancel/", views.batch_cancel, name="cancel"),
    path("batches/<uuid:pk>/retry/", views.batch_retry, name="retry"),
    path("batches/<uuid:pk>/delete/", views.batch_delete, name="delete"),
    path("batches/<uuid:pk>/try/", trial_views.trial_page, name="try"),
    path("batches/<uuid:pk>/try/results/", trial_views.trial_results, name="try-results"),
    path("batches/<uuid:pk>/try/<int:number>/image/", trial_views.trial_image, name="try-image"),
    path("batches/<uuid:pk>/try/use/", trial_views.trial_use, name="try-use"),
    path("batches/<uuid:pk>/pages/<int:number>/", views.page_detail, name="page"),
    path("batches/<uuid:pk>/pages/<int:number>/image/", views.page_image, name="page-image"),
    path("batches/<uuid:pk>/files/<int:number>/original/", views.file_original, name="original"),
    path("batches/<uuid:pk>/files/<int:number>.<int:member>/original/", views.file_original, name="member"),
    path("presets/", preset_views.preset_list, name="presets"),
    path("presets/new/", preset_views.preset_new, name="preset-new"),
    path("presets/<uuid:pk>/", preset_views.preset_edit, name="preset"),
    path("presets/<uuid:pk>/delete/", preset_views.preset_delete, name="preset-delete"),
    path("uploads/", tus.uploads, name="uploads"),
    path("uploads/<uuid:pk>/", tus.upload, name="upload"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
