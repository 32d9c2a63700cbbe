"""The two styles of the avatars: their labels, and which parts and colours may show each.

The drawings are DiceBear's, loaded from its package; to `avataaars` this adds layers of its own for hats, earrings, cheeks
and neckwear, and two closed smiles; in `pixel-art` it makes beards and earrings show.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ccvae.data.synthetic_faces.parts import AvatarStyle, Given, Part, Pose, optional, style_of_package

__all__ = ["STYLES"]


def element(name: str, **attributes: Any) -> dict[str, Any]:
    """An SVG element in DiceBear's notation."""
    named = {key.replace("_", "-"): value for key, value in attributes.items()}
    return {"type": "element", "name": name, "attributes": named}


def colour(name: str) -> dict[str, str]:
    """A reference to a colour in DiceBear's notation."""
    return {"type": "color", "name": name}


def numbered(prefix: str, *numbers: int) -> tuple[str, ...]:
    """Names such as variant01."""
    return tuple(f"{prefix}{number:02d}" for number in numbers)


# ---------------------------------------------------------------------------------------------------------- avataaars

HATS = ("hat", "turban", "winterHat1", "winterHat02", "winterHat03", "winterHat04")
BACKGROUNDS = ("#b6e3f4", "#c0aede", "#d1d4f9", "#ffd5dc", "#ffdfbf", "#cfe8cf")
JEWELS = ("#f0b429", "#e6e6e6", "#ff488e", "#5199e4")
BLUSHES = ("#e8505b", "#ff7a8a")
VIVID = ("#262e33", "#5199e4", "#ff488e", "#ff5c5c", "#ffffff", "#3f8f5a", "#f0b429")


def avataaars_definition() -> dict[str, Any]:
    """The avataaars style with our layers."""
    definition = style_of_package("avataaars")
    components, canvas = definition["components"], definition["canvas"]["elements"]
    top = components["top"]
    # the style makes a hat replace the hair; as a layer of its own, a little higher, it leaves the hair to be seen
    components["hat"] = {
        "width": top["width"],
        "height": top["height"],
        "probability": 0,
        "variants": {hat: copy.deepcopy(top["variants"][hat]) for hat in HATS},
    }
    for name, variants, colours in (
        ("earrings", earrings(), JEWELS),
        ("cheeks", cheeks(), BLUSHES),
        ("neckwear", neckwear(), VIVID),
    ):
        drawn = {variant: {"elements": elements} for variant, elements in variants.items()}
        components[name] = {"width": 280, "height": 280, "probability": 0, "variants": drawn}
        definition["colors"][name] = {"values": list(colours)}
    for name, path in (("grinClosed", "M28 14q18 20 36 0"), ("smirk", "M32 22q18 8 30-10")):
        line = element(
            "path", d=path, fill="none", stroke="black", stroke_opacity=".7", stroke_width="5", stroke_linecap="round"
        )
        components["mouth"]["variants"][name] = {"elements": [line]}
    for name, below, shift in (
        ("neckwear", "clothes", "translate(0)"),
        ("cheeks", "neckwear", "translate(0)"),
        ("hat", "top", "translate(8 -12)"),
        ("earrings", "hat", "translate(0)"),
    ):
        position = next(place for place, layer in enumerate(canvas) if layer["name"] == below) + 1
        canvas.insert(position, {"name": name, "type": "component", "attributes": {"transform": shift}})
    return definition


def earrings() -> dict[str, list[dict[str, Any]]]:
    """Our earrings, on the canvas of 280 by 280."""
    paint = colour("earrings")
    return {
        "stud": [element("circle", cx=f"{x}", cy="136", r="6.5", fill=paint) for x in (79, 201)],
        "hoop": [
            element("circle", cx=f"{x}", cy="147", r="10", fill="none", stroke=paint, stroke_width="4.5") for x in (79, 201)
        ],
        "drop": [element("path", d=f"M{x} 132l9 24a9.5 9.5 0 1 1-18 0z", fill=paint) for x in (79, 201)],
    }


def cheeks() -> dict[str, list[dict[str, Any]]]:
    """Our blushes and freckles."""
    paint = colour("cheeks")
    spots = [(left + right, y) for left in (92, 172) for right, y in ((0, 138), (8, 145), (16, 138), (8, 132))]
    return {
        "round": [element("circle", cx=x, cy="141", r="12", fill=paint, fill_opacity=".75") for x in ("100", "180")],
        "oval": [element("ellipse", cx=x, cy="140", rx="14", ry="7", fill=paint, fill_opacity=".85") for x in ("100", "180")],
        "freckles": [element("circle", cx=f"{x}", cy=f"{y}", r="3", fill="#5a2d12", fill_opacity=".8") for x, y in spots],
    }


def neckwear() -> dict[str, list[dict[str, Any]]]:
    """Our ties, scarf and beads."""
    paint = colour("neckwear")
    beads = ((106, 200), (113, 209), (122, 216), (133, 220), (147, 220), (158, 216), (167, 209), (174, 200))
    return {
        "bowtie": [
            element("path", d="M140 210l-26-13v26zM140 210l26-13v26z", fill=paint),
            element("circle", cx="140", cy="210", r="6", fill=paint),
        ],
        "necktie": [element("path", d="M130 197h20l-5 13 11 70h-32l11-70z", fill=paint)],
        "scarf": [
            element("path", d="M100 190q40 30 80 0l8 20q-48 34-96 0z", fill=paint),
            element("path", d="M150 212l22-6 8 60h-24z", fill=paint),
        ],
        "beads": [element("circle", cx=f"{x}", cy=f"{y}", r="5", fill=paint) for x, y in beads],
    }


def avataaars_pose(draws: Sequence[float]) -> Pose:
    """A little rotation, zoom and shift; what shows stays inside the canvas of 280 by 280, which the background fills."""
    turn, zoom, right, down = draws
    side = round(228 * (0.95 + 0.11 * zoom), 2)
    left, top = (140 - side / 2 + 14 * right - 7, 120 - side / 2 + 12 * down - 6)
    left, top = (round(min(max(corner, 0), 280 - side), 2) for corner in (left, top))
    return round(10 * turn - 5, 2), (left, top, side)


AVATAAARS = AvatarStyle(
    name="avataaars",
    definition=avataaars_definition,
    labels={
        "Eyeglasses": 0.40,
        "Facial_Hair": Given("Long_Hair", absent=0.45, present=0.25),
        "Wearing_Hat": 0.30,
        "Long_Hair": 0.45,
        "Wavy_Hair": 0.45,
        "Light_Hair": 0.45,
        "Pale_Skin": 0.50,
        "Smiling": 0.50,
        "Mouth_Open": 0.50,
        "Eyes_Closed": 0.30,
        "Angry_Brows": 0.35,
        "Formal_Clothes": 0.35,
        "Bright_Clothes": 0.50,
        "Earrings": 0.30,
        "Cheeks": 0.30,
        "Neckwear": 0.30,
    },
    parts=(
        Part(
            "topVariant",
            (
                ("shortFlat", "shortRound", "theCaesar", "theCaesarAndSidePart", "sides", "shaggy"),
                ("dreads01", "dreads02", "shortCurly", "shortWaved", "frizzle"),
                ("bob", "straight01", "straight02", "straightAndStrand", "longButNotTooLong", "miaWallace"),
                ("bigHair", "curly", "curvy", "dreads", "fro"),
            ),
            ("Long_Hair", "Wavy_Hair"),
        ),
        Part(
            "mouthVariant",
            (
                ("serious", "sad", "eating"),
                ("screamOpen", "concerned", "disbelief", "grimace"),
                ("twinkle", "grinClosed", "smirk"),
                ("smile", "default", "tongue"),
            ),
            ("Smiling", "Mouth_Open"),
        ),
        Part(
            "eyesVariant",
            (("default", "side", "surprised", "squint", "eyeRoll"), ("closed", "happy")),
            ("Eyes_Closed",),
        ),
        Part(
            "eyebrowsVariant",
            (
                ("default", "defaultNatural", "raisedExcited", "raisedExcitedNatural", "upDown", "sadConcernedNatural"),
                ("angry", "angryNatural"),
            ),
            ("Angry_Brows",),
        ),
        Part(
            "clothesVariant",
            (
                ("hoodie", "overall", "shirtCrewNeck", "shirtScoopNeck", "shirtVNeck"),
                ("blazerAndShirt", "blazerAndSweater", "collarAndSweater"),
            ),
            ("Formal_Clothes",),
        ),
        Part("noseVariant", (("default",),)),
        *optional(
            "accessories",
            "Eyeglasses",
            ("prescription01", "prescription02", "round", "kurt", "sunglasses", "wayfarers"),
            ("#262e33", "#25557c", "#ff488e", "#ffffff", "#c93305", "#f0b429"),
        ),
        *optional(
            "facialHair",
            "Facial_Hair",
            ("beardLight", "beardMedium", "beardMajestic", "moustacheFancy", "moustacheMagnum"),
        ),
        *optional("hat", "Wearing_Hat", HATS, VIVID),
        *optional("earrings", "Earrings", ("stud", "hoop", "drop"), JEWELS),
        *optional("cheeks", "Cheeks", ("round", "oval", "freckles"), BLUSHES),
        *optional("neckwear", "Neckwear", ("bowtie", "necktie", "scarf", "beads"), VIVID),
        Part(
            "hairColor",
            (
                ("#2c1b18", "#4a312c", "#724133", "#a55728", "#c93305"),
                ("#d6b370", "#ecdcbf", "#e8e1e1", "#f59797"),
            ),
            ("Light_Hair",),
        ),
        Part(
            "skinColor",
            (("#614335", "#ae5d29", "#d08b5b", "#7d4a2c"), ("#ffdbb4", "#edb98a", "#f7cfa9")),
            ("Pale_Skin",),
        ),
        Part(
            "clothesColor",
            (
                ("#262e33", "#25557c", "#3c4f5c", "#5b2a4a", "#2f4a34"),
                ("#ff488e", "#ff5c5c", "#65c9ff", "#a7ffc4", "#ffffb1", "#e6e6e6"),
            ),
            ("Bright_Clothes",),
        ),
        Part("backgroundColor", ((*BACKGROUNDS, "#8fa9bf", "#6b7a8f"),)),
    ),
    pose=avataaars_pose,
    same_colours={"facialHairColor": "hairColor"},
)

# ---------------------------------------------------------------------------------------------------------- pixel-art


def pixel_art_definition() -> dict[str, Any]:
    """The pixel-art style with beards and earrings that show."""
    definition = style_of_package("pixel-art")
    # the style masks a beard by how light the hair is, so that dark ones vanish
    for variant in definition["components"]["beard"]["variants"].values():
        for mask in variant["elements"]:
            for shape in mask["children"] if mask["name"] == "mask" else ():
                shape["attributes"]["fill"] = "white"
    # it draws earrings below the hair, which covers them
    canvas = definition["canvas"]["elements"]
    names = [layer["name"] for layer in canvas]
    earrings = canvas.pop(names.index("accessories"))
    canvas.insert(names.index("hair"), earrings)
    return definition


PIXEL_ART = AvatarStyle(
    name="pixel-art",
    definition=pixel_art_definition,
    labels={
        "Eyeglasses": 0.40,
        "Facial_Hair": Given("Long_Hair", absent=0.45, present=0.25),
        "Wearing_Hat": 0.30,
        "Long_Hair": 0.45,
        "Light_Hair": 0.45,
        "Pale_Skin": 0.50,
        "Earrings": 0.35,
        "Lipstick": 0.40,
        "Warm_Clothes": 0.50,
        "Patterned_Clothes": 0.40,
        "Blue_Eyes": 0.50,
        "Dark_Background": 0.40,
    },
    parts=(
        Part(
            "hairVariant",
            (
                numbered("short", 1, 2, 3, 4, 6, 10, 14, 16, 19, 22),
                numbered("long", 1, 2, 3, 7, 8, 9, 12, 13, 17, 20, 21),
            ),
            ("Long_Hair",),
        ),
        Part(
            "clothesVariant",
            (numbered("variant", 1, 3, 4, 5), numbered("variant", 2, 6, 13, 18)),
            ("Patterned_Clothes",),
        ),
        Part("mouthVariant", (("happy03", "happy06", "happy07", "sad03", "sad05"),)),
        Part("eyesVariant", (numbered("variant", 8, 9, 11),)),
        *optional(
            "glasses",
            "Eyeglasses",
            numbered("light", *range(1, 8)) + numbered("dark", *range(1, 8)),
            ("#4b4b4b", "#191919", "#43677d", "#5f705c", "#a04b5d"),
        ),
        *optional("beard", "Facial_Hair", numbered("variant", 1, 3, 5, 6, 7, 8)),
        *optional(
            "hat",
            "Wearing_Hat",
            numbered("variant", *range(1, 11)),
            ("#2e1e05", "#2663a3", "#989789", "#3d8a6b", "#cc6192", "#614f8a", "#a62116"),
        ),
        *optional("accessories", "Earrings", numbered("variant", *range(1, 5)), ("#ffd700", "#fafad2", "#d3d3d3")),
        Part(
            "hairColor",
            (
                ("#28150a", "#603a14", "#611c17", "#603015", "#33241a"),
                ("#e3cc88", "#cab188", "#e8e1d0", "#f2a7b5"),
            ),
            ("Light_Hair",),
        ),
        Part(
            "skinColor",
            (("#b68655", "#a26d3d", "#8d5524", "#6b3d1a"), ("#ffdbac", "#f5cfa0", "#eac393")),
            ("Pale_Skin",),
        ),
        Part("mouthColor", (("#d29985", "#c98276"), ("#e35d6a", "#de0f0d", "#c2185b")), ("Lipstick",)),
        Part(
            "clothingColor",
            (
                ("#5bc0de", "#428bca", "#03396c", "#88d8b0", "#00b159"),
                ("#ff6f69", "#d11141", "#ae0001", "#ffd969", "#ffc425"),
            ),
            ("Warm_Clothes",),
        ),
        Part("eyesColor", (("#5d4037", "#876658", "#3e2723"), ("#1e88e5", "#29b6f6", "#26a69a")), ("Blue_Eyes",)),
        Part(
            "backgroundColor",
            (BACKGROUNDS, ("#263238", "#37474f", "#4a148c", "#1b5e20")),
            ("Dark_Background",),
        ),
    ),
    pose=lambda draws: (0.0, (0.0, 0.0, 16.0)),
)

STYLES: Mapping[str, AvatarStyle] = {style.name: style for style in (AVATAAARS, PIXEL_ART)}
