from django.urls import path

from batches.consumers import BatchConsumer

websocket_urlpatterns = [path("ws/batches/<uuid:batch_id>/", BatchConsumer.as_asgi())]
