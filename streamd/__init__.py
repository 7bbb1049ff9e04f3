"""streamd: a face-recognition daemon for doors, from camera frames to MQTT decisions."""

from importlib.metadata import version

__version__ = version("streamd")
