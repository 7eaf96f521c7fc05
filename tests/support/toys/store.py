"""A store in memory."""

from pathlib import Path

from onetake.runtime.settings import Settings

OBJECTS: dict[str, bytes] = {}


class MemoryStore:
    """Objects by their keys."""

    def put(self, file: Path, key: str, _content_type: str) -> str:
        OBJECTS[key] = file.read_bytes()
        return self.link(key)

    def read(self, key: str) -> bytes | None:
        return OBJECTS.get(key)

    def delete(self, key: str) -> None:
        OBJECTS.pop(key, None)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in OBJECTS if key.startswith(prefix))

    def move(self, key: str, to: str) -> None:
        OBJECTS[to] = OBJECTS.pop(key)

    def link(self, key: str) -> str:
        return f"memory://{key}"


def selects(settings: Settings) -> bool:
    return settings.output_dir == Path("memory:")


def open_store(_settings: Settings) -> MemoryStore:
    return MemoryStore()
