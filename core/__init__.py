"""From a picture to the nearest characters of a gallery. Knows no chat, no queue, no web."""
