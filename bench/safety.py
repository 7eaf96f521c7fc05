"""What the prompt check blocks and what it misses: bench/results/safety.json.

    python -m bench.safety               # some minutes on two CPU cores

The suite, tests/trust/safety_prompts.jsonl, was written by somebody who had not seen the word lists
nor the examples that the classifier was trained on. Ten ways to hide words are applied to every
tenth prompt that is to be blocked. A later set of innocent and violent prompts, half of either
hard, was written after the last change to lists, examples and thresholds, by somebody who had seen
none.
"""

import json
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from onetake.trust.policy import CATEGORIES, Policy
from onetake.trust.safety.normalise import CJK
from onetake.trust.safety.prompts import categories_of

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "tests" / "trust" / "safety_prompts.jsonl"
LATER = ROOT / "tests" / "trust" / "safety_prompts_later.jsonl"
RESULTS = ROOT / "bench" / "results" / "safety.json"
BRANDS = (
    "Zephyrine Cola", "Kordova Motors", "Lumière Noctis", "青岚茶坊", "BrightPaw", "Otterline",
)  # fmt: skip
HIDDEN = 10  # every tenth
POLICY = Policy(brands=BRANDS)
_LEET = str.maketrans("aeiostAEIOST", "4310574310$7")
_CYRILLIC = str.maketrans("aceiopxyACEOPX", "асеіорхуАСЕОРХ")
_WORD = re.compile(rf"[^\W\d_{CJK}]{{3,}}|[{CJK}]{{2,}}")


def _words(change: Callable[[str], str]) -> Callable[[str], str]:
    """``change``, made to every word of three letters or more and every run of characters."""
    return lambda text: _WORD.sub(lambda word: change(word[0]), text)


EVASIONS: dict[str, Callable[[str], str]] = {
    "digits for letters": lambda text: text.translate(_LEET),
    "letters spaced out": _words(" ".join),
    "dots between letters": _words(".".join),
    "invisible characters": _words("\u200b".join),
    "look-alike letters": lambda text: text.translate(_CYRILLIC),
    "full width": lambda text: "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text
    ),
    "letters repeated": _words(lambda word: word if re.match(f"[{CJK}]", word) else
                               word[0] + word[1] * 3 + word[2:]),
    "accents": _words(lambda word: unicodedata.normalize("NFC", "\u0301".join(word) + "\u0301")),
    "hyphens": _words(lambda word: f"{word[: len(word) // 2]}-{word[len(word) // 2 :]}"),
    "mixed case": _words(lambda word: "".join(
        c.upper() if i % 2 else c.lower() for i, c in enumerate(word)
    )),
}  # fmt: skip


def caught(category: str, said: tuple[str, ...]) -> bool:
    """Whether a prompt is stopped as its own category would be: by that, or by one that blocks."""
    return category in said or any(POLICY.categories.action(c) == "block" for c in said)


def later() -> dict[str, object]:
    """What the check does to prompts that nothing of it was chosen by."""
    rows = [json.loads(line) for line in LATER.read_text(encoding="utf-8").splitlines()]
    innocent = [row["text"] for row in rows if not row["category"]]
    violent = [row["text"] for row in rows if row["category"]]
    blocked = sum(bool(categories_of(text, POLICY)) for text in innocent)
    missed = sum(not caught("violence", categories_of(text, POLICY)) for text in violent)
    return {
        "innocent": len(innocent), "false_blocks": blocked / len(innocent),
        "violence": len(violent), "missed": missed / len(violent),
    }  # fmt: skip


def main() -> None:
    """Print the table and write it down."""
    rows = [json.loads(line) for line in SUITE.read_text(encoding="utf-8").splitlines()]
    started = time.perf_counter()
    verdicts = [categories_of(row["text"], POLICY) for row in rows]
    seconds = time.perf_counter() - started
    innocent = [
        (row, said) for row, said in zip(rows, verdicts, strict=True) if not row["category"]
    ]
    results: dict[str, object] = {
        "prompts": len(rows),
        "innocent": len(innocent),
        "false_blocks": sum(map(bool, (said for _row, said in innocent))) / len(innocent),
        "milliseconds_a_prompt": round(1000 * seconds / len(rows), 1),
    }
    for row, said in innocent:
        if said:
            print("blocked:", said, row["text"])
    misses, evaded = {}, Counter[str]()
    harmful = 0
    for category in CATEGORIES:
        pairs = [(r, s) for r, s in zip(rows, verdicts, strict=True) if r["category"] == category]
        missed = [row for row, said in pairs if not caught(category, said)]
        misses[category] = {"prompts": len(pairs), "missed": len(missed) / len(pairs)}
        for row in missed:
            print("missed:", category, row["text"])
        hidden = pairs[::HIDDEN]
        harmful += len(hidden)
        for name, hide in EVASIONS.items():
            said_hidden = (categories_of(hide(row["text"]), POLICY) for row, _said in hidden)
            evaded[name] += sum(not caught(category, said) for said in said_hidden)
    results |= {"hidden": harmful, "categories": misses}
    shares = {name: 1 - evaded[name] / harmful for name in EVASIONS}
    results["evasions_caught"] = shares
    results["evasions_caught_mean"] = sum(shares.values()) / len(shares)
    results["later"] = later()
    print(json.dumps(results, indent=1))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
