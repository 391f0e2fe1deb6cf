"""Who comes to the door: the address a visitor comes from, and what is told after too many wrong passwords."""

from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone


def address_of(request: HttpRequest) -> str | None:
    """The visitor's IP address; None where nothing tells it (a unix socket without a proxy's word).

    Behind a proxy it is the last one in X-Forwarded-For: that one the proxy has seen, the others are hearsay.
    """
    told = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_PROXY else ""
    for address in (told.rsplit(",", 1)[-1].strip(), request.META.get("REMOTE_ADDR", "")):
        try:
            return _network(ip_address(address))
        except ValueError:
            continue
    return None


def _network(address: IPv4Address | IPv6Address) -> str:
    """Of IPv6 the /64: one visitor has all its addresses."""
    return (
        str(ip_network((address, 64), strict=False).network_address) if address.version == 6 else str(address)
    )


def locked_out(request: HttpRequest, *given: Any) -> HttpResponse:
    """Too many wrong passwords: what to do, and when.

    django-axes keeps the name on the request; what it gives beside differs between sync and async.
    """
    name = request.axes_credentials["username"]  # type: ignore[attr-defined]
    tried = AccessAttempt.objects.filter(username=name, ip_address=address_of(request))
    tried = tried.order_by("-attempt_time")
    last = tried.values_list("attempt_time", flat=True).first() or timezone.now()
    wait = max(last + settings.AXES_COOLOFF_TIME - timezone.now(), timedelta(seconds=1))
    return too_many(request, "sign-in", round(wait.total_seconds()))


def too_many(request: HttpRequest, what: str, seconds: int) -> HttpResponse:
    """429: too many of `what` (“sign-in” or “upload”); it may be tried again in so many seconds."""
    context = {"what": what, "minutes": -(-seconds // 60)}
    response = render(request, "429.html", context, status=429)
    response["Retry-After"] = str(seconds)
    return response
