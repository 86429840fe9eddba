"""Write into the Zotero that runs on this computer, version 10 or newer.

Its local API is that of zotero.org, without an account and without a limit of requests. Zotero asks
the person at the computer before it gives a key for writing, which is good for one request, or for
all that follow. The key is kept until the command ends.
"""

from __future__ import annotations

import os

from harness.errors import NotAllowed, SkillFailed, UsageError
from skills.corpus.zotero.client import Library

LOCAL_URL, LOCAL_URL_VARIABLE = "http://127.0.0.1:23119/api", "ZOTERO_LOCAL_URL"
PROGRAM = "nanda-harness"
SECONDS_TO_ANSWER = 300.0

_SERVER = "Zotero-Server-ID"


class LocalLibrary(Library):
    """A library of the Zotero that runs here."""

    through_proxy = False

    def __enter__(self) -> LocalLibrary:
        """Connect to Zotero.

        Raises:
            SkillFailed: it does not answer.
            UsageError: it accepts no notes.
        """
        client = self._client.client
        try:
            self._ask(lambda: client.get(f"{self.url}/"))
        except SkillFailed as exc:
            raise SkillFailed(
                "no Zotero answers on this computer",
                where=self.url,
                hint="Start Zotero. Without `--local`, notes are written through zotero.org.",
            ) from exc
        reply = self._replies[-1]
        if reply.status_code == 403:
            raise UsageError(
                "Zotero does not answer other programs",
                hint="Allow it in Zotero: Settings > Advanced > Allow other applications.",
            )
        if not (identity := reply.headers.get(_SERVER)):
            raise UsageError(
                "the Zotero that runs here is older than version 10 and accepts no notes",
                hint="Without `--local`, they are written through zotero.org.",
            )
        client.headers[_SERVER] = identity
        return self

    @property
    def server(self) -> str:
        return f"{self.url} {self._client.client.headers.get(_SERVER, '')}"

    def check_access(self, *, write: bool) -> None:
        """Do nothing: Zotero asks when notes are written."""

    def _address(self) -> str:
        return (os.environ.get(LOCAL_URL_VARIABLE) or LOCAL_URL).rstrip("/")

    def _path(self) -> str:
        return "users/0" if self.name.startswith("users/") else self.name

    def _key(self) -> str:
        return ""

    def _authorize(self) -> bool:
        """Ask for a key, which Zotero gives if the person there allows it.

        Raises:
            NotAllowed: they do not.
        """
        client = self._client.client
        asked = {"appName": PROGRAM}
        url, timeout = f"{self.url}/local/authorize", SECONDS_TO_ANSWER
        reply = client.post(url, json=asked, timeout=timeout)
        key = reply.json().get("key") if reply.status_code == 200 else None
        if not key:
            raise NotAllowed("you did not allow it in Zotero, and nothing was changed there")
        client.headers["Zotero-API-Key"] = key
        return True
