from django.db import migrations, models
from django.db.models import F


def in_order_of_their_numbers(apps, schema_editor):
    apps.get_model('batches', 'Page').objects.update(turn=F('number'))


class Migration(migrations.Migration):

    dependencies = [
        ('batches', '0007_recognised'),
    ]

    operations = [
        migrations.AddField(
            model_name='page',
            name='turn',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='page',
            name='weight',
            field=models.FloatField(default=0.0),
        ),
        migrations.RunPython(in_order_of_their_numbers, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='page',
            index=models.Index(fields=['batch', 'status', 'turn', '-weight', 'number'], name='page_batch_turn'),
        ),
    ]
