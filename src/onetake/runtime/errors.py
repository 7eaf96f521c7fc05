"""Every error that Onetake raises.

    OnetakeError            never raised itself
      JobError              the caller's fault, found before any GPU work
      StageError            ours, with the stage's name
        EncodeError         keeps ffmpeg's command and the end of its stderr
      DeviceError           the card is lost or out of memory: the worker asks to be replaced
      StoppedError          somebody, or the clock, ended the job
      SettingsError         the operator's fault: a variable of the environment

``str(error)`` is what a client sees: ``"<code>: <sentence>"``, one line, with no path, host, key
or traceback in it. What only the log may know goes into ``detail``.
"""


class OnetakeError(Exception):
    """Base of the tree: a machine-readable ``code`` and one sentence that says what to do."""

    def __init__(self, code: str, sentence: str, *, detail: str = "") -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence
        self.detail = detail


class JobError(OnetakeError):
    """The request cannot be honoured; names the field and, where there is one, a legal value."""

    def __init__(self, field: str, problem: str, *, code: str = "invalid_input") -> None:
        super().__init__(code, f"{field}: {problem}")
        self.field = field


class StageError(OnetakeError):
    """A stage of ours failed on a legal request."""

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
    """The job was ended from outside (``cancelled``) or by the clock (``timeout``)."""


class SettingsError(OnetakeError):
    """The environment is missing a variable, or holds one that makes no sense."""

    def __init__(self, variable: str, problem: str, *, detail: str = "") -> None:
        super().__init__("invalid_settings", f"{variable}: {problem}", detail=detail)
        self.variable = variable
