"""The visible text and the links of a page, read by an HTML parser."""

from __future__ import annotations

from html.parser import HTMLParser


class PageText(HTMLParser):
    """Gathers text outside of styles, and addresses of links."""

    def __init__(self):
        super().__init__()
        self.words, self.addresses, self.hidden = [], [], False

    def handle_starttag(self, tag, attrs):
        self.hidden = tag == "style"
        self.addresses += [value for name, value in attrs if tag == "a" and name == "href"]

    def handle_endtag(self, tag):
        self.hidden = False

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data.strip())

    @classmethod
    def of(cls, html):
        """The text."""
        reader = cls()
        reader.feed(html)
        return " ".join(filter(None, reader.words))

    @classmethod
    def links(cls, html):
        """The addresses."""
        reader = cls()
        reader.feed(html)
        return reader.addresses
