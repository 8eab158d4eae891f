"""The language of the generated benchmark: concepts, their words, and captions made of them."""

from dataclasses import dataclass

import numpy as np

# Each line is one concept: its synonyms. Verbs are regular, so that their forms can be derived.
ACTORS = """man guy gentleman; woman lady; boy lad; girl; toddler infant; chef cook; mechanic;
dancer performer; gardener; teacher instructor; clown; dog puppy"""
ACTIONS = """carry; toss; wash rinse; slice; lift raise; push; paint colour; repair fix; fold;
polish shine; cover; inspect examine; decorate adorn; pull haul; kick; roll rotate; stack pile;
sniff; measure; film record"""
OBJECTS = {
    "food": "onion; cake; bread loaf; apple; fish",
    "cloth": "shirt; jacket coat; towel; shoe boot; curtain",
    "furniture": "chair seat; table desk; shelf; door; lamp",
    "sport": "ball; frisbee disc; rope cord; hoop ring; mat",
    "vehicle": "bicycle bike; car automobile; skateboard; boat; cart wagon",
}
PLACES = """window; wall; fence; stairs steps; tree; bench; mirror; fountain; crowd audience;
fire"""
SCENES = {
    "kitchen": "food",
    "bakery": "food",
    "bedroom": "cloth",
    "laundry": "cloth",
    "workshop studio": "furniture",
    "office": "furniture",
    "gym": "sport",
    "park": "sport",
    "garage": "vehicle",
    "harbour port": "vehicle",
    "street road": "vehicle",
    "garden backyard": "sport",
}
ADVERBS = ["slowly", "quickly", "carefully", "happily", "again"]


def _concepts(lines: str) -> list[list[str]]:
    return [concept.split() for concept in lines.split(";")]


WORDS: dict[str, list[list[str]]] = {
    "actor": _concepts(ACTORS),
    "action": _concepts(ACTIONS),
    "object": [words for lines in OBJECTS.values() for words in _concepts(lines)],
    "place": _concepts(PLACES),
    "scene": [names.split() for names in SCENES],
}
OBJECT_CLASS = [name for name, lines in OBJECTS.items() for _ in _concepts(lines)]
SCENE_CLASS = list(SCENES.values())
PARTS = ("actor", "action", "object", "place")


@dataclass(frozen=True)
class Event:
    """The event of one moment: an index into `WORDS` for each part."""

    actor: int
    action: int
    object: int
    place: int


def verb_forms(verb: str) -> tuple[str, str, str]:
    """Return third person, present participle and past participle of a regular verb.

    >>> verb_forms("carry"), verb_forms("slice")
    (('carries', 'carrying', 'carried'), ('slices', 'slicing', 'sliced'))
    """
    if verb.endswith("y"):
        return verb[:-1] + "ies", verb + "ing", verb[:-1] + "ied"
    if verb.endswith("e"):
        return verb + "s", verb[:-1] + "ing", verb + "d"
    plural = "es" if verb.endswith(("sh", "ss", "x")) else "s"
    return verb + plural, verb + "ing", verb + "ed"


def _lexicon() -> dict[str, tuple[str, int]]:
    meanings = {}
    for part, concepts in WORDS.items():
        for index, words in enumerate(concepts):
            for word in words:
                for form in verb_forms(word) if part == "action" else (word,):
                    meanings[form] = (part, index)
    return meanings


LEXICON = _lexicon()
"""Word form to (part, index); words that are not in it carry no content."""


def tokens(text: str) -> list[str]:
    """List the word forms of a caption, without case and punctuation."""
    return text.lower().replace(",", " ").replace(".", " ").split()


def caption(event: Event, scene: int, named: set[str], rng: np.random.Generator) -> str:
    """Write one sentence about one event.

    Args:
        event: event to describe.
        scene: index of the scene in which the video takes place.
        named: parts to name beside the action: "actor", "object", "place" and "scene".
        rng: generator that chooses synonyms, voice and order.
    """

    def word(part: str, index: int) -> str:
        return str(rng.choice(WORDS[part][index]))

    actor = word("actor", event.actor) if "actor" in named else ""
    who = f"{rng.choice(['a', 'the'])} {actor}" if actor else "someone"
    thing = word("object", event.object) if "object" in named else ""
    what = f"{rng.choice(['a', 'the'])} {thing}" if thing else "something"
    sentence = _clause(who, word("action", event.action), what, bool(actor), rng)
    if "place" in named:
        sentence += f" {rng.choice(['near', 'by', 'beside'])} the {word('place', event.place)}"
    if rng.random() < 0.25:
        sentence += f" {rng.choice(ADVERBS)}"
    if "scene" in named:
        where = f"in the {word('scene', scene)}"
        sentence = f"{where}, {sentence}" if rng.random() < 0.5 else f"{sentence} {where}"
    return sentence[0].upper() + sentence[1:] + "."


def _clause(who: str, verb: str, what: str, actor: bool, rng: np.random.Generator) -> str:
    simple, progressive, participle = verb_forms(verb)
    agent = f" by {who}" if actor else ""
    forms = [
        f"{who} {simple} {what}",
        f"{who} is {progressive} {what}",
        f"we see {who} {progressive} {what}",
        f"{what} is {participle}{agent}",
        f"{what} is being {participle}{agent}",
    ]
    return str(rng.choice(forms))
