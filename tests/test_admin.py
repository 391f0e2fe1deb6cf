import pytest
from django.urls import reverse

from batches import tasks
from batches.models import Batch, Page
from tests.conftest import client_of

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/batches/batch/"


@pytest.fixture
def batch(make_batch) -> Batch:
    """Two pages, of which the second failed."""
    batch = make_batch(2)
    tasks.work()
    batch.files.get(position=2).path.unlink()
    tasks.work()
    return batch  # type: ignore[no-any-return]


def act(client, action: str, *batches: Batch) -> str:
    data = {"action": action, "_selected_action": [str(batch.pk) for batch in batches]}
    return str(client.post(LIST, data, follow=True).content.decode())


def test_the_list_shows_status_progress_counts_and_owner(batch, staff):
    content = client_of(staff).get(LIST).content.decode()
    for part in ("Box 12", "Completed", "2 of 2", "ada"):
        assert part in content


def test_the_list_is_filtered_and_searched(batch, staff):
    client = client_of(staff)
    assert "Box 12" in client.get(f"{LIST}?status__exact=completed").content.decode()
    assert "Box 12" not in client.get(f"{LIST}?status__exact=failed").content.decode()
    assert "Box 12" in client.get(f"{LIST}?q=card-2").content.decode()
    assert "Box 12" not in client.get(f"{LIST}?q=nowhere").content.decode()


def test_the_list_costs_the_same_for_many_batches(staff, user, django_assert_max_num_queries):
    Batch.objects.bulk_create(Batch(name="Box", owner=user, options={}) for _ in range(90))
    client = client_of(staff)
    with django_assert_max_num_queries(12):  # session, user, counts, dates, filters' choices, the batches
        client.get(LIST)


def test_a_batch_shows_live_progress_and_cannot_be_edited(batch, staff):
    content = client_of(staff).get(f"{LIST}{batch.pk}/change/").content.decode()
    assert f'data-live="{batch.pk}"' in content
    assert "batches/live" in content
    assert 'name="_save"' not in content
    assert client_of(staff).post(f"{LIST}{batch.pk}/change/", {"name": "x"}).status_code == 403


def test_pages_files_and_events_are_there_to_read(batch, staff):
    client = client_of(staff)
    for model, row in (
        ("page", batch.pages.first()),
        ("sourcefile", batch.files.first()),
        ("batchevent", batch.events.first()),
    ):
        url = reverse(f"admin:batches_{model}_changelist") + f"?batch__id__exact={batch.pk}"
        assert client.get(url).status_code == 200
        assert client.get(reverse(f"admin:batches_{model}_change", args=[row.pk])).status_code == 200
        assert client.get(reverse(f"admin:batches_{model}_add")).status_code == 403
    failed = client.get(
        reverse("admin:batches_page_changelist") + f"?batch__id__exact={batch.pk}&status__exact=failed"
    )
    assert "no longer on the server" in failed.content.decode()


def test_retry_reads_just_the_failed_pages_and_says_so(batch, staff):
    content = act(client_of(staff), "retry_failed_pages", batch)
    assert "Box 12: 1 page queued again." in content
    assert [page.status for page in Page.objects.all()] == ["succeeded", "queued"]
    assert "Box 12: nothing to retry." in act(client_of(staff), "retry_failed_pages", batch)


def test_cancel_one_and_many(batch, make_batch, staff):
    queued = make_batch(1)
    content = act(client_of(staff), "cancel", batch, queued)
    assert content.count("Box 12: cancelled.") == 1
    assert content.count("Box 12: had ended, or is being cancelled.") == 1
    queued.refresh_from_db()
    assert queued.status == "cancelled"


def test_those_who_may_only_look_are_given_no_commands(batch, user):
    from django.contrib.auth.models import Permission

    user.is_staff = True
    user.save()
    user.user_permissions.add(Permission.objects.get(codename="view_batch"))
    client = client_of(user)
    assert "retry_failed_pages" not in client.get(LIST).content.decode()
    act(client, "retry_failed_pages", batch)
    assert Page.objects.filter(status="failed").exists()
