"""The product's door with shorter patience, for a real web server in a test: `IMPATIENCE` names it, as JSON."""

import json
import os

from ocrsite.asgi import application  # first: it sets Django up

from batches import consumers  # isort: skip

__all__ = ["application"]

for name, value in json.loads(os.environ["IMPATIENCE"]).items():
    assert hasattr(consumers, name)
    setattr(consumers, name, value)
