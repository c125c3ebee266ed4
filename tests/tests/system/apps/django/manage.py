"""A whole Django project in one file."""
import sys
from pathlib import Path

from django.conf import settings
from django.core.management import execute_from_command_line

BASE = Path(__file__).resolve().parent
settings.configure(
    SECRET_KEY="only a test",
    INSTALLED_APPS=["django.contrib.staticfiles"],
    STATIC_URL="static/",
    STATIC_ROOT=BASE / "collected",
    STATICFILES_DIRS=[BASE / "assets"],
)
execute_from_command_line(sys.argv)
