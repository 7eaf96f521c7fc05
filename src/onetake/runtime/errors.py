"""Every error that Onetake raises.

    OnetakeError            never raised itself
      JobError              the caller's fault, found before any GPU work
      StageError            ours, with the stage's name
        EncodeError         keeps ffmpeg's command and the end of its stderr
      DeviceError           the card is lost or out of memory: the worker asks to be replaced
      StoppedError          the job was cancelled, or its time is up
      SettingsError         the operator's fault: an environment variable

``str(error)`` is what a client sees: ``"<code>: <sentence>"``, one line, with no path, host, key
or traceback in it. What only the log may show goes into ``detail``.
"""


class OnetakeError(Exception):
    """Base of all errors: a code for machines, and one sentence that says what to do."""

    def __init__(self, code: str, sentence: str, *, detail: str = "") -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence
        self.detail = detail


class JobError(OnetakeError):
    """The request is wrong; names the field and, if there is one, a legal value."""

    def __init__(self, field: str, problem: str, *, code: str = "invalid_input") -> None:
        super().__init__(code, f"{field}: {problem}")
        self.field = field


class StageError(OnetakeError):
    """A stage failed although the request is legal."""

    def __init__(self, stage: str, sentence: str, *, detail: str = "") -> None:
        super().__init__(f"{stage}_failed", sentence, detail=detail)
        self.stage = stage


class EncodeError(StageError):
    """The encoder (ffmpeg) stopped; ``detail`` holds its command and the end of its stderr."""

    def __init__(self, sentence: str, *, command: list[str], stderr: str) -> None:
        super().__init__("encode", sentence, detail=f"{' '.join(command)}\n{stderr}")
        self.command = command
        self.stderr = stderr


class DeviceError(OnetakeError):
    """The card is out of memory or lost."""


class StoppedError(OnetakeError):
    """The job was cancelled (``cancelled``), or took too long (``timeout``)."""


class SettingsError(OnetakeError):
    """An environment variable is missing or wrong."""

    def __init__(self, variable: str, problem: str, *, detail: str = "") -> None:
        super().__init__("invalid_settings", f"{variable}: {problem}", detail=detail)
        self.variable = variable
