"""Every error of the project, split by what to do about it.

::

    LmsSrError
    ├── ConfigurationError     a setting, a file or a port: say which, and the way out; exit code 2
    ├── TemplateError          a report template is wrong: file, place and the way out; exit code 2
    ├── Permanent              trying again cannot help: park it and tell a person
    │   ├── InputError         a file or an object that is not what it should be
    │   ├── GateError          a report that must not leave the house (see ``service.sr.gate``)
    │   ├── NotAllowed         a step that the life of a report does not allow now (see ``service.flow.lifecycle``)
    │   ├── AnswerError        answers that do not fit their questions: all that is wrong, a line each
    │   └── Rejected           the peer refused for good (carries the DIMSE status)
    ├── Transient              trying again may help: retry with back-off
    │   ├── PeerUnavailable    no connection, no association, time-out, busy
    │   ├── OutcomeUnknown     sent, but no answer came: ask, or send the same bytes again
    │   └── StoreUnavailable   the database or the disk does not answer now
    └── Refused                what a peer asked of us is refused (carries the DIMSE status to answer)

No message carries a patient's name, birth date or free text: they go to logs and to C-STORE responses.
"""

from __future__ import annotations


class LmsSrError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigurationError(LmsSrError):
    """A setting, a file or a port is wrong; the message names it and the way out."""


class TemplateError(LmsSrError):
    """A report template is wrong; the message names the file, the place and the way out."""


class Permanent(LmsSrError):
    """Trying again cannot help: the work is parked with this message."""


class InputError(Permanent):
    """A file or an object is not what it should be."""


class GateError(Permanent):
    """A report failed a check that stands before sending; ``problems`` lists all of them."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class NotAllowed(Permanent):
    """A step that the life of a report does not allow now; the message says what is allowed, and the way out."""


class AnswerError(Permanent):
    """Answers that do not fit their questions; ``problems`` lists all of them, in a radiologist's words."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Rejected(Permanent):
    """The peer refused for good.

    Parameters
    ----------
    message:
        What was refused, by whom.
    status:
        The DIMSE status (PS3.4 B.2.3, PS3.7 C), where there was one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Transient(LmsSrError):
    """Trying again may help."""


class PeerUnavailable(Transient):
    """No connection, no association, a time-out, or the peer says it is busy.

    Parameters
    ----------
    message:
        What was tried, with whom, and what came of it.
    status:
        The DIMSE status, where there was one (A7xx for a peer without room, say).
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class OutcomeUnknown(Transient):
    """The object left us and no answer came: it may or may not be stored at the peer."""


class StoreUnavailable(Transient):
    """The database or the disk does not answer now."""


class Refused(LmsSrError):
    """A request to us is refused.

    Parameters
    ----------
    message:
        Why; becomes the Error Comment (0000,0902), cut at 64 characters.
    status:
        The DIMSE status to answer (``service.dimse.statuses``).
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
