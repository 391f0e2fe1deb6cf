"""The tests' own environment: a temporary DATA_DIR and a Redis of its own. Loaded before Django's settings.

`python -m tests.environment manage.py …` runs a command of the project in the same way.
"""

import atexit
import os
import re
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

from tests.postgres import Postgres

# TEST_DATABASE=postgresql runs them on a PostgreSQL of their own instead of SQLite.
FOLDER = Path(tempfile.mkdtemp(prefix="ocr-tests-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

# Set to nothing, not removed: a .env beside manage.py would bring an operator's own back.
NAMED = re.findall(r"^(\w+)=", (Path(__file__).parent.parent / ".env.example").read_text(), re.MULTILINE)
os.environ |= dict.fromkeys(NAMED, "")
os.environ |= {
    "DATA_DIR": str(FOLDER),
    "REDIS_URL": f"unix://{FOLDER}/redis/redis.sock",
    "SECRET_KEY": "only-for-the-tests",
    "DEBUG": "false",
    "HTTPS": "false",
    "ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
    "SWEEP_SECONDS": "2",
    "LOG_LEVEL": "WARNING",
}
POSTGRES: Postgres | None = None
if os.environ.get("TEST_DATABASE") == "postgresql":
    POSTGRES = Postgres(FOLDER / "postgres")
    POSTGRES.create()
    POSTGRES.start()
    atexit.register(POSTGRES.stop)
    os.environ["DATABASE_URL"] = POSTGRES.url

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    sys.path.insert(0, "")
    runpy.run_path(sys.argv[0], run_name="__main__")
