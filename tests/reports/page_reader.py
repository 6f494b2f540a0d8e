"""A reader of pages that refuses what a self-contained page may not have."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

from PIL import Image as PillowImage

HOSTILE = (
    "<script>alert(1)</script>.jpg",
    "\"'><img src=x onerror=alert(1)>.jpg",
    "\u202egpj.exe",
    "{{ 7 * 7 }}{% raw %}.jpg",
    "javascript:alert(1)",
    "../../etc/passwd",
    "\x00\x08\ud800.jpg",
    "x" * 10_000,
)
VOID = {"meta", "img", "br", "input"}
TAGS = (
    "html head meta title style body p div header h1 h2 h3 section b small span bdi em i ul ol li code details summary nav a main"
    " article figure img svg g rect path label input table thead tbody tr th td footer br"
)
ALLOWED = set(TAGS.split())


class Page(HTMLParser):
    """Reads a page and refuses what a self-contained one may not have."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.stack, self.ids, self.links, self.images, self.text = [], [], [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.stack, f"not closed: {self.stack}"

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, tag
        self.tags.append((tag, dict(attrs)))
        for name, value in attrs:
            assert not name.startswith("on") and name not in ("srcset", "srcdoc", "action", "xlink:href", "data"), name
            if name == "src":
                assert re.fullmatch(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", value)
                self.images.append(PillowImage.open(io.BytesIO(base64.b64decode(value.partition(",")[2]))))
            if name == "href":
                self.links.append(value)
            if name == "id":
                self.ids.append(value)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += data
