"""The exceptions of the package."""


class Error(ValueError):
    """Whatever the detector refuses. The message says what was expected, what was found and what to do."""


class FileError(Error, OSError):
    """A file that cannot be read or written."""


Error.__module__ = FileError.__module__ = "wmdetect"
