"""Put figures, animations, tables, claims and findings into a notebook, labelled so that the report finds them.

Each output carries, under the key `lab` of its metadata, what the report's index needs: the figure's number,
its caption, the text for those who can't see it. JupyterLab shows the same caption below the picture.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from IPython.display import display
from PIL import Image

from lab_utils import METADATA_KEY
from lab_utils.base.files import write_whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.animation import Animation
    from matplotlib.figure import Figure

# matplotlib's player fetches a font for its buttons from the network; these signs are in every font.
_BUTTONS = {
    "minus": "−",
    "fast-backward": "⇤",
    "step-backward": "‹",
    "play fa-flip-horizontal": "◂",
    "pause": "‖",
    "play": "▸",
    "step-forward": "›",
    "fast-forward": "⇥",
    "plus": "+",
}


WRITERS = {".gif": "pillow", ".mp4": "ffmpeg"}  # matplotlib's names for those who write such a file


def png(figure: Figure) -> bytes:
    """The figure as a PNG picture of at most 256 colours: a third of the size, and no difference to the eye."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return _fewer_colours(buffer.getvalue())


def quick_png(figure: Figure) -> bytes:
    """The figure as a PNG picture, whole, in a third of the time: for an explorer, which draws at each move."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def _fewer_colours(picture: bytes) -> bytes:
    buffer = io.BytesIO()
    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    fewer = whole.quantize(256, Image.Quantize.MAXCOVERAGE)  # which keeps a colour that few pixels have
    fewer.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def html_image(picture: bytes, alt: str) -> str:
    """A PNG picture as HTML, for a widget to show; `alt` describes it to someone who can't see it."""
    encoded = base64.b64encode(picture).decode("ascii")
    return f'<img src="data:image/png;base64,{encoded}" alt="{html.escape(alt)}" style="max-width: 100%">'


def _publish(data: dict[str, Any], **label: Any) -> None:
    display(data, raw=True, metadata={METADATA_KEY: label})  # type: ignore[no-untyped-call]


def _caption(name: str, caption: str) -> None:
    heading = name if name.endswith("?") else f"{name}."
    data = {"text/markdown": f"**{heading}** {caption}", "text/plain": f"{heading} {caption}"}
    _publish(data, kind="caption", name=name)


def show_figure(figure: Figure, name: str, caption: str, alt: str) -> None:
    """Show `figure` as a picture with its caption.

    `name` is as readers cite it ("Figure 4"); `caption` says what to look at, with its numbers; `alt` describes the
    picture to someone who can't see it.
    """
    picture = base64.b64encode(png(figure)).decode("ascii")
    _publish({"image/png": picture, "text/plain": name}, kind="figure", name=name, caption=caption, alt=alt)
    _caption(name, caption)


def _smaller_frame(found: re.Match[str]) -> str:
    # matplotlib breaks the lines of its base64, in JavaScript, with a backslash
    return base64.b64encode(_fewer_colours(base64.b64decode(found[0].replace("\\\n", "")))).decode("ascii")


def _player(animation: Animation, alt: str) -> str:
    """The player as HTML: nothing in it is fetched, and the same animation gives the same bytes."""
    player = animation.to_jshtml(default_mode="loop")
    player = re.sub(r"<link [^>]*>", "", player)
    player = re.sub(r'<i class="fa fa-([^"]+)"></i>', lambda icon: _BUTTONS[icon[1]], player)
    player = re.sub(r'(?<=data:image/png;base64,)[^"]+', _smaller_frame, player)
    player = player.replace('<img id="_anim_img', f'<img alt="{html.escape(alt)}" id="_anim_img')
    player = player.replace('<input id="_anim_slider', '<input aria-label="frame" id="_anim_slider')
    found = re.search(r'id="_anim_img(\w+)"', player)
    assert found is not None, "matplotlib's player has no picture"
    plain = player.replace(found[1], "")  # matplotlib draws a new name for every player; ours comes from the content
    return player.replace(found[1], hashlib.sha256(plain.encode()).hexdigest()[:16])


def show_animation(animation: Animation, name: str, caption: str, alt: str) -> None:
    """Show `animation` as a player that needs neither a kernel nor a network."""
    player = f'<div role="group" aria-label="{html.escape(name)}">{_player(animation, alt)}</div>'
    _publish({"text/html": player, "text/plain": name}, kind="animation", name=name, caption=caption, alt=alt)
    _caption(name, caption)


def save_animation(animation: Animation, path: str | Path) -> Path:
    """Save `animation` as a GIF, or as an MP4 where the program ffmpeg is installed; the path's ending says which.

    Raises:
        ValueError: for another ending, or an MP4 without ffmpeg.
    """
    from matplotlib.animation import writers  # here, for it is slow to import

    path = Path(path)
    kind = path.suffix.lower()
    if kind not in WRITERS:
        raise ValueError(f"an animation is saved as {' or '.join(WRITERS)}; got {str(path)!r}")
    if not writers.is_available(WRITERS[kind]):
        raise ValueError("MP4 needs the program ffmpeg, which is not installed here; install it, or save as .gif")
    with write_whole(path) as part, TemporaryDirectory() as folder:
        made = Path(folder) / f"animation{kind}"  # the writers go by the ending, which the part's is not
        animation.save(made, writer=WRITERS[kind], fps=8)
        shutil.copy(made, part)
    return path


def show_table(table: pd.DataFrame, name: str, caption: str) -> None:
    """Show measured results as a table, which the report's first page repeats."""
    _publish({"text/html": table.to_html(), "text/plain": table.to_string()}, kind="table", name=name, caption=caption)
    _caption(name, caption)


def show_claims(claims: pd.DataFrame, name: str, caption: str) -> None:
    """Show claims as a table in which "more" unfolds; the report's first page has them as a list.

    Args:
        claims: text, a claim in each row, its name in the index. The columns are "verdict", "decides" (the one number
            that does), "more", and "see", which names a figure or a table.
        name: what readers cite.
        caption: what to know of the numbers.
    """
    shown = claims.rename(index=html.escape).rename_axis(None).map(html.escape)
    more = shown.pop("more").str.replace("\n", "<br>")
    shown["decides"] += "<details><summary>more</summary>" + more + "</details>"
    data = {
        "text/html": shown.rename(columns={"decides": "the number that decides"}).to_html(
            classes="plain", escape=False
        ),
        "text/plain": claims.drop(columns="more").to_string(),
    }
    rows = claims.rename_axis("claim").reset_index().to_dict("records")
    _publish(data, kind="claims", name=name, caption=caption, rows=rows)
    _caption(name, caption)


def show_finding(sentence: str, name: str, figure: str) -> None:
    """Show what was found; the report's first page has it beside its picture.

    `sentence` has the number that a reader should keep in bold; `name` is "Finding 1", by which it has its place;
    `figure` is the name of the figure in which one sees it.
    """
    text = f"**{name}.** {sentence} (See “{figure}”.)"
    data = {"text/markdown": text, "text/plain": text.replace("**", "")}
    _publish(data, kind="finding", name=name, caption=sentence, figure=figure)
