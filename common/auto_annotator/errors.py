"""Every error the library raises on purpose; each message says got, expected and what to do."""


class AutoAnnotatorError(Exception):
    """Base of all deliberate errors: a caller may show the message to a person as it is."""


class ImageError(AutoAnnotatorError):
    """A picture was refused.

    Attributes:
        reason: a short stable code (`empty`, `not_an_image`, `truncated`, `too_many_pixels`, `unsupported`, ...),
            safe for logs and for CVAT attributes; it never holds bytes or names of the picture.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConfigError(AutoAnnotatorError):
    """An ensemble file, a setting or an argument is wrong."""


class WeightsError(AutoAnnotatorError):
    """A weight file is missing, has the wrong hash, or may not be used."""


class DeviceError(AutoAnnotatorError):
    """The device that was asked for is not there."""


class MemberError(AutoAnnotatorError):
    """A member of an ensemble returned something that is not a valid answer.

    Attributes:
        reason: a short stable code: `garbage`, `too_many_boxes`.
    """

    def __init__(self, message: str, *, reason: str = "garbage") -> None:
        super().__init__(message)
        self.reason = reason
