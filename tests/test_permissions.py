"""Who may do what: every route of the product, for everybody. A route that is not in the table fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import URLResolver, get_resolver

from batches import ocr, views
from batches.models import Batch, BatchEvent, Page, Preset, SourceFile, Trial, Upload
from batches.ocr import command
from ocrsite.asgi import application
from tests.conftest import session_cookie

pytestmark = pytest.mark.django_db(transaction=True)

ROLES = ("visitor", "owner", "other", "clerk", "staff")  # a clerk is staff without any permission

REFUSALS = ("login", "401", "403", "404")

# Answers to each role, in this order. «login»: sent to sign in. Everybody but a visitor is signed in.
TABLE = """
GET   batches/<uuid:pk>/                                   login 200 404 200 200
GET   batches/<uuid:pk>/events/                            login 200 404 200 200
GET   batches/<uuid:pk>/text/                              login 200 404 200 200
GET   batches/<uuid:pk>/pages/<int:number>/                login 200 404 200 200
GET   batches/<uuid:pk>/pages/<int:number>/image/          login 200 404 200 200
GET   batches/<uuid:pk>/files/<int:number>/original/       login 200 404 200 200
GET   batches/<uuid:pk>/files/<int:number>.<int:member>/original/ login 200 404 200 200
GET   batches/<uuid:pk>/problems/                          login 200 404 200 200
GET   batches/<uuid:pk>/try/                               login 200 404 200 200
POST  batches/<uuid:pk>/try/                               login 200 404 403 200
GET   batches/<uuid:pk>/try/results/                       login 200 404 200 200
GET   batches/<uuid:pk>/try/<int:number>/image/            login 200 404 200 200
POST  batches/<uuid:pk>/try/use/                           login 302 404 403 302
POST  batches/<uuid:pk>/pause/                             login 302 404 403 302
POST  batches/<uuid:pk>/resume/                            login 302 404 403 302
POST  batches/<uuid:pk>/cancel/                            login 302 404 403 302
POST  batches/<uuid:pk>/retry/                             login 302 404 403 302
POST  batches/<uuid:pk>/delete/                            login 302 404 403 302
GET   /                                                    login 200 200 200 200
GET   batches/new/                                         login 200 200 200 200
POST  batches/new/                                         login 200 200 200 200
GET   presets/                                             login 200 200 200 200
GET   presets/new/                                         login 200 200 200 200
POST  presets/new/                                         login 200 200 200 200
GET   presets/<uuid:pk>/                                   login 200 404 404 404
POST  presets/<uuid:pk>/                                   login 200 404 404 404
GET   presets/<uuid:pk>/delete/                            login 200 404 404 404
POST  presets/<uuid:pk>/delete/                            login 302 404 404 404
GET   uploads/                                             401 200 200 200 200
POST  uploads/                                             401 400 400 400 400
HEAD  uploads/<uuid:pk>/                                   401 200 404 404 404
PATCH uploads/<uuid:pk>/                                   401 415 404 404 404
DELETE uploads/<uuid:pk>/                                  401 204 404 404 404
GET   accounts/login/                                      200 302 302 302 302
POST  accounts/login/                                      200 302 302 302 302
POST  accounts/logout/                                     login login login login login
GET   favicon.ico                                          302 302 302 302 302
GET   healthz                                              200 200 200 200 200
GET   readyz                                               200 200 200 200 200
GET   admin/                                               login login login 200 200
GET   admin/login/                                         200 200 200 302 302
POST  admin/login/                                         200 200 200 200 200
POST  admin/logout/                                        302 302 302 login login
GET   admin/password_change/                               login login login 200 200
GET   admin/password_change/done/                          login login login 200 200
GET   admin/autocomplete/                                  login login login 403 403
GET   admin/jsi18n/                                        login login login 200 200
GET   admin/r/<path:content_type_id>/<path:object_id>/     login login login 302 302
GET   admin/^(?P<app_label>auth|batches)/$                 login login login 404 200
GET   admin/(?P<url>.*)$                                   login login login 404 404
GET   admin/auth/user/<id>/password/                       login login login 403 200
GET   admin/{auth}/                                        login login login 403 200
GET   admin/{auth}/add/                                    login login login 403 200
GET   admin/{auth}/<path:object_id>/history/               login login login 403 200
GET   admin/{auth}/<path:object_id>/delete/                login login login 403 200
GET   admin/{auth}/<path:object_id>/change/                login login login 403 200
GET   admin/{auth}/<path:object_id>/                       login login login 302 302
GET   admin/{ours}/                                        login login login 403 200
POST  admin/batches/batch/                                 login login login 403 302
GET   admin/{ours}/add/                                    login login login 403 403
POST  admin/{ours}/add/                                    login login login 403 403
GET   admin/{ours}/<path:object_id>/history/               login login login 403 200
GET   admin/{ours}/<path:object_id>/delete/                login login login 403 403
POST  admin/{ours}/<path:object_id>/delete/                login login login 403 403
GET   admin/{ours}/<path:object_id>/change/                login login login 403 200
POST  admin/{ours}/<path:object_id>/change/                login login login 403 403
GET   admin/{ours}/<path:object_id>/                       login login login 302 302
"""
MODELS = {
    "{auth}": ["auth/group", "auth/user"],
    "{ours}": [
        "batches/batch",
        "batches/sourcefile",
        "batches/page",
        "batches/batchevent",
        "batches/preset",
        "batches/trial",
    ],
}
OPTIONS = {"languages": ["eng"], "segmentation": "auto", "preparation": "auto", "pdf_text": "keep"}
# Closed with this code, or open.
SOCKETS = {"ws/batches/<uuid:batch_id>/": ("4401", "open", "4404", "open", "open")}


def rows() -> Iterator[tuple[str, str, list[str]]]:
    """Method, route and answers, a line for each model."""
    for line in TABLE.split("\n")[1:-1]:
        method, route, *answers = line.split()
        group = next((group for group in MODELS if group in route), "")
        for model in MODELS.get(group, [""]):
            yield method, route.replace(group, model) if group else route, answers


def routes(resolver: Any = None, prefix: str = "") -> Iterator[str]:
    """Every route that Django knows."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, route)
        else:
            yield route or "/"


@dataclass
class World:
    """One batch with one page, and everybody who might want it."""

    batch: Batch
    upload: Upload
    preset: Preset
    users: dict[str, User | None]
    client: Client
    role: str = ""

    def url(self, route: str) -> str:
        batch, user = self.batch, self.users["owner"]
        objects = {
            "auth/group/": Group.objects.get(), "auth/user/": user, "batches/batch/": batch,
            "batches/sourcefile/": batch.files.get(), "batches/page/": batch.pages.get(),
            "batches/batchevent/": batch.events.get(), "batches/preset/": self.preset,
            "batches/trial/": batch.trials.first(), "admin/r/": batch,
        }  # fmt: skip
        row = next((row.pk for part, row in objects.items() if part in route and row), "")
        kind = ContentType.objects.get_for_model(Batch).pk
        for place, value in {
            "try/<int:number>": f"try/{batch.trials.get(side=1).pk}",
            "uploads/<uuid:pk>": f"uploads/{self.upload.pk}", "presets/<uuid:pk>": f"presets/{self.preset.pk}",
            "<uuid:pk>": batch.pk, "<uuid:batch_id>": batch.pk, "<int:number>": 1, "<int:member>": 0, "<id>": row,
            "<path:object_id>": row, "<path:content_type_id>": kind,
            "^(?P<app_label>auth|batches)/$": "batches/", "(?P<url>.*)$": "nowhere/",
        }.items():  # fmt: skip
            route = route.replace(place, str(value))
        query = {"uploads/": f"?submission={self.upload.submission}"}
        query |= {} if "admin" in route else {f"batches/{batch.pk}/events/": "?after=0"}
        return f"/{route.lstrip('/')}" + query.get(route, "")

    def answer(self, role: str, method: str, url: str) -> str:
        """The status, or «login» where the way leads there."""
        if role != self.role or method != "GET":  # which may sign out
            self.client.cookies.clear()
            if user := self.users[role]:
                self.client.force_login(user)
            self.role = role
        data = {"action": "cancel", "_selected_action": [str(self.batch.pk)]} if method == "POST" else ""
        response = getattr(self.client, method.lower())(url, data, headers={"Tus-Resumable": "1.0.0"})
        return "login" if "login/" in response.headers.get("Location", "") else str(response.status_code)


@pytest.fixture
def make_world(client) -> Any:
    def make() -> World:
        User.objects.all().delete()
        Group.objects.get_or_create(name="readers")
        owner, other = User.objects.create_user("ada"), User.objects.create_user("eve")
        clerk = User.objects.create_user("clerk", is_staff=True)
        batch = Batch.objects.create(
            name="Box", owner=owner, options=OPTIONS, total=1, status="running", last_seq=1
        )
        source = SourceFile.objects.create(batch=batch, position=1, name="a.png", size=1)
        page = Page.objects.create(batch=batch, source=source, number=1, index=0)
        BatchEvent.objects.create(batch=batch, seq=1, type="batch.queued", payload={}, created=batch.created)
        trial, _ = (
            Trial.objects.create(batch=batch, page=page, side=side, preset="Letters", options=OPTIONS)
            for side in (1, 2)
        )
        for path in (source.path, page.image_path, trial.image_path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        upload = Upload.objects.create(owner=owner, submission=uuid4(), name="b.png", size=9)
        preset = Preset.objects.create(owner=owner, name="Letters", options=OPTIONS)
        users = (None, owner, other, clerk, User.objects.create_superuser("root"))
        return World(batch, upload, preset, dict(zip(ROLES, users, strict=True)), client)

    return make


@pytest.fixture(autouse=True)
def ready(monkeypatch):
    """Asking takes seconds; who may ask is what counts here."""
    monkeypatch.setattr(views, "readiness", dict)
    monkeypatch.setattr(
        ocr, "probe", lambda name="": ocr.Engine("Tesseract 5.3.0", ("eng",), None, command.tsv_of)
    )


def test_every_route_is_in_the_table():
    assert {route for _, route, _ in rows()} == set(routes())


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PATCH", "DELETE"])
def test_everybody_gets_what_the_table_says(make_world, method, caplog):
    world = make_world()
    surprises: dict[str, str] = {}
    caplog.set_level("CRITICAL", "django.request")  # hundreds of refusals, each with its way through Django
    for number, role in enumerate(ROLES):
        for verb, route, answers in rows():
            if verb != method:
                continue
            found = world.answer(role, verb, world.url(route))
            if found != answers[number]:
                surprises[f"{verb} {route}: {role}"] = f"{found}, not {answers[number]}"
            assert Upload.objects.exists() == (found != "204"), f"{verb} {route} by {role} did something"
            if verb != "GET" and found not in REFUSALS:
                world = make_world()
            assert Batch.objects.filter(status="running").count() == 1, (
                f"{verb} {route} by {role} did something"
            )
    assert surprises == {}


def test_every_other_method_is_refused(make_world):
    world = make_world()
    allowed: dict[str, set[str]] = {}
    for method, route, _ in rows():
        if not route.startswith("admin/"):
            allowed.setdefault(route, set()).add(method)
    found = {
        f"{method} {route}": world.answer("owner", method, world.url(route))
        for route, methods in allowed.items()
        for method in {"GET", "POST", "PATCH", "DELETE"} - methods
        if route != "accounts/login/"  # sends whoever has signed in on, whatever the method
    }
    assert found == dict.fromkeys(found, "405")
    assert Batch.objects.filter(status="running").exists()


def socket_routes() -> list[str]:
    app = application.application_mapping["websocket"]
    while not hasattr(app, "routes"):
        app = getattr(app, "application", None) or app.inner
    return [str(route.pattern) for route in app.routes]


def test_every_socket_is_in_the_table():
    assert set(application.application_mapping) == {"http", "websocket"}
    assert set(socket_routes()) == set(SOCKETS)


@pytest.mark.parametrize("route", SOCKETS)
@pytest.mark.parametrize("number", range(len(ROLES)), ids=ROLES)
async def test_sockets_open_for_those_who_may_see(make_world, route, number):
    world = await database_sync_to_async(make_world)()
    path = await database_sync_to_async(world.url)(route)
    cookie = await database_sync_to_async(session_cookie)(world.users[ROLES[number]])
    headers = [(b"cookie", cookie.encode()), (b"origin", b"http://testserver"), (b"host", b"testserver")]
    line = WebsocketCommunicator(application, path, headers=headers)
    assert (await line.connect(timeout=5))[0]
    message = await line.receive_output(timeout=5)
    await line.disconnect()
    assert str(message.get("code", "open")) == SOCKETS[route][number]
