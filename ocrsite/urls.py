from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path
from django.views.decorators.http import require_safe

admin.site.site_header = admin.site.site_title = "Batch OCR administration"


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Browsers ask for it here on pages that name no icon, such as the admin's."""
    return redirect(static("batches/icon.svg"))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("favicon.ico", favicon),
    path("", include("batches.urls")),
]
